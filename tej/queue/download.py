"""Where downloaded files go, and how they get there while the stream comes in."""

from __future__ import annotations

import os
import posixpath
import tarfile
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tej.errors import DownloadFailed, Error
from tej.job.status import check_job_reference
from tej.queue.connection import QueueConnection
from tej.wire import protocol
from tej.wire.archive import Unpacker
from tej.wire.framing import Pieces, make_marker
from tej.wire.stream import Feed


@dataclass(frozen=True)
class Downloaded:
    """What came of one job."""

    files: list[Path]
    """Those written, also if others could not be had."""
    error: Error | None = None


class Download:
    """What is asked for of one job, and the place of each file."""

    def __init__(
        self,
        names: Sequence[str],
        destination: str | os.PathLike[str] | None,
        directory: str | os.PathLike[str] | None,
        *,
        recursive: bool,
        flatten: bool,
    ) -> None:
        if destination is not None and directory is not None:
            raise TypeError("Only use one of 'destination' or 'directory'")
        if destination is not None and len(names) > 1:
            raise ValueError(
                "'destination' specified but multiple files given; did you mean to use "
                "'directory'?"
            )
        self.patterns = [check_name(name) for name in names]
        self.recursive = recursive
        self.flatten = flatten
        self.directory = Path("." if directory is None else directory)
        self.destination = None if destination is None else Path(destination)
        if self.destination is not None and self.destination.is_dir():
            # As cp does.
            self.directory, self.destination, self.flatten = (
                self.destination,
                None,
                True,
            )
        self._only: PurePosixPath | None = None

    @property
    def root(self) -> Path:
        """Nothing is written outside of it."""
        return self.directory if self.destination is None else self.destination.parent

    def place(self, name: PurePosixPath) -> Path:
        """Where a member of the archive goes."""
        if self.destination is not None:
            return self.destination / name.relative_to(self._the_only(name))
        if self.flatten:
            return self.directory / name.relative_to(self._named(name).parent)
        return self.directory / name

    def _the_only(self, name: PurePosixPath) -> PurePosixPath:
        if self._only is None:
            self._only = self._named(name)
        if not name.is_relative_to(self._only):
            raise DownloadFailed(
                f"'{self.patterns[0]}' is more than one file; use 'directory'"
            )
        return self._only

    def _named(self, name: PurePosixPath) -> PurePosixPath:
        """The file or directory asked for that this member is, or is in."""
        depths = {len(PurePosixPath(pattern).parts) for pattern in self.patterns}
        for above in [name, *name.parents]:
            literal = str(above) in self.patterns
            if literal or (
                len(above.parts) in depths
                and any(above.match(pattern) for pattern in self.patterns)
            ):
                return above
        return name

    def place_checked(self, name: PurePosixPath) -> Path:
        """The same, but for what is in a directory that is not wanted."""
        if not self.recursive and (named := self._named(name)) != name:
            raise DownloadFailed(f"'{named}' is a directory")
        return self.place(name)


class Unpacking:
    """The files of one job, written in a thread while the stream comes in."""

    def __init__(self, download: Download) -> None:
        self._feed = Feed()
        self._unpacker = Unpacker(download.root, download.place_checked)
        self._error: BaseException | None = None
        self._thread = threading.Thread(
            target=self._unpack, name="tej download", daemon=True
        )
        self.put = self._feed.put
        self._thread.start()

    def _unpack(self) -> None:
        try:
            self._unpacker.unpack(self._feed.as_file())
        except BaseException as error:
            self._error = error
        finally:
            self._feed.close()

    @property
    def files(self) -> list[Path]:
        """Those written so far."""
        return [*self._unpacker.written.values()]

    def finish(self) -> None:
        """The stream is over.  Raises what went wrong with its files."""
        self._feed.put(b"")
        self._thread.join()
        if isinstance(self._error, tarfile.TarError | EOFError):
            raise DownloadFailed(
                f"What the server sent is not whole: {self._error}"
            ) from self._error
        if self._error is not None:
            raise self._error


class Receiver:
    """Takes what the server's `download` prints, and keeps the outcome of each job."""

    def __init__(
        self,
        downloads: Mapping[str, Download],
        progress: Callable[[int], object] | None = None,
    ) -> None:
        self.marker = make_marker()
        self.done: dict[str, Downloaded] = {}
        self._downloads = downloads
        self._progress = progress
        self._pieces = Pieces(self.marker, self._begin, self._content)
        self._job_id = ""
        self._unpacking: Unpacking | None = None
        self._status: int | None = None
        self._words = b""

    @property
    def arguments(self) -> list[str]:
        """What the server's `download` is asked for."""
        words = [self.marker]
        for job_id, download in self._downloads.items():
            words += [job_id, str(len(download.patterns)), *download.patterns]
        return words

    def take(self, data: bytes) -> None:
        """The transport's sink."""
        self._pieces(data)
        if self._progress is not None:
            self._progress(len(data))

    def _begin(self, header: str) -> None:
        status, _, job_id = header.partition(" ")
        if status != "-":
            self._status = int(status)
            return
        self.finish()
        self._job_id = job_id
        self._unpacking = Unpacking(self._downloads[job_id])

    def _content(self, data: bytes) -> None:
        if self._status is not None:
            self._words += data
        elif self._unpacking is not None:
            self._unpacking.put(data)

    def finish(self) -> None:
        """No more comes of this job."""
        unpacking, self._unpacking = self._unpacking, None
        status, self._status = self._status, None
        words, self._words = self._words, b""
        if unpacking is None:
            return
        error: Error | None = None
        try:
            unpacking.finish()
        except Error as failure:
            error = failure
        if status:
            # In its words rather than those of who was left with half an archive.
            text = words.decode("utf-8", "replace").strip()
            error = protocol.error_of(status, text, "download")
        if status is not None:
            self.done[self._job_id] = Downloaded(unpacking.files, error)


def check_name(name: str) -> str:
    """A path in the job's directory, without `.` and `..`.

    Raises DownloadFailed for one that leads out of it.
    """
    if not name:
        raise DownloadFailed("'' is not the name of a file")
    path = posixpath.normpath(name)
    if path.startswith(("/", "../")) or path == ".." or "\0" in path:
        raise DownloadFailed(
            f"'{name}' leads out of the job's directory, and is not downloaded"
        )
    return path


def download(
    connection: QueueConnection,
    job_id: str,
    files: str | Sequence[str],
    destination: str | os.PathLike[str] | None,
    directory: str | os.PathLike[str] | None,
    *,
    recursive: bool,
    flatten: bool,
    progress: Callable[[int], object] | None,
) -> list[Path]:
    """Download files of one job; see `RemoteQueue.download`."""
    check_job_reference(job_id)
    names = [files] if isinstance(files, str) else list(files)
    wanted = Download(
        names, destination, directory, recursive=recursive, flatten=flatten
    )
    outcome = receive(connection, {job_id: wanted}, progress)[job_id]
    if outcome.error is not None:
        raise outcome.error
    return outcome.files


def download_many(
    connection: QueueConnection,
    wanted: Mapping[str, str | Sequence[str]] | Iterable[str],
    files: str | Sequence[str] | None,
    directory: str | os.PathLike[str] | None,
    *,
    flatten: bool,
    progress: Callable[[int], object] | None,
) -> dict[str, Downloaded]:
    """Download files of several jobs; see `RemoteQueue.download_many`."""
    if not isinstance(wanted, Mapping):
        wanted = dict.fromkeys(wanted, files or ())
    elif files is not None:
        raise TypeError("'files' is for ids; a mapping has its own")
    parent = Path("." if directory is None else directory)
    downloads = {
        check_job_reference(job_id): Download(
            [names] if isinstance(names, str) else list(names),
            None,
            parent / job_id,
            recursive=True,
            flatten=flatten,
        )
        for job_id, names in wanted.items()
    }
    return receive(connection, downloads, progress)


def receive(
    connection: QueueConnection,
    downloads: Mapping[str, Download],
    progress: Callable[[int], object] | None = None,
) -> dict[str, Downloaded]:
    """The outcome of each download; one that is complete is not repeated."""
    done = {one: Downloaded([]) for one in downloads if not downloads[one].patterns}

    def attempt(_: int) -> None:
        left = {one: downloads[one] for one in downloads if one not in done}
        if not left:
            return
        receiver = Receiver(left, progress)
        try:
            connection.run_verb("download", *receiver.arguments, take=receiver.take)
        finally:
            receiver.finish()
            done.update(receiver.done)

    connection.with_retries(attempt)
    for job_id, outcome in done.items():
        if outcome.error is not None:
            explained = connection.explain(outcome.error)
            done[job_id] = Downloaded(outcome.files, explained)
    return {job_id: done[job_id] for job_id in downloads}
