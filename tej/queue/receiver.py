"""Receives the server's `download` reply: where files go, and what became of them."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tej.errors import DownloadFailed, Error
from tej.job.names import printable, to_local
from tej.queue.file_patterns import FilePattern, check_name
from tej.wire.extraction import Unpacker
from tej.wire.framing import MarkerSplitter, make_marker
from tej.wire.records import parse_integer
from tej.wire.replies import MESSAGE_LIMIT, error_of, garbled
from tej.wire.stream import Feed

logger = logging.getLogger("tej")


@dataclass(frozen=True)
class Downloaded:
    """The outcome of a download from one job."""

    files: list[Path]
    """Files that were written, even if others could not be had."""
    error: Error | None = None


class DownloadAborted(Exception):
    """The rest of the stream is of no use; other jobs have to be asked for again."""


class Download:
    """The files requested of one job, and the place of each."""

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
        self._requests = [FilePattern(check_name(name)) for name in names]
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
    def patterns(self) -> list[str]:
        """The requested names as the server gets them."""
        return [request.text for request in self._requests]

    @property
    def root(self) -> Path:
        """Nothing is written outside of it."""
        return self.directory if self.destination is None else self.destination.parent

    def respell(self, message: str) -> bool:
        """Ask for a name that the server did not find in its other Unicode form.

        `é` is one character or two, and the server compares bytes.  Returns whether
        there is a form that was not tried.
        """
        for index, request in enumerate(self._requests):
            if f"There is no '{request.text}' in job" in message and (
                other := request.respell()
            ):
                self._requests[index] = other
                return True
        return False

    def place(self, name: PurePosixPath) -> Path:
        """Where a member of the archive is written.

        Raises DownloadFailed if it was not requested.
        """
        requested = self._requested_part(name)
        if self.destination is not None:
            self._only = self._only or requested
            if requested != self._only:
                raise DownloadFailed(
                    f"'{self.patterns[0]}' is more than one file; use 'directory'"
                )
            return self.destination / _local(name.relative_to(requested))
        if self.flatten:
            return self.directory / _local(name.relative_to(requested.parent))
        return self.directory / _local(name)

    def _requested_part(self, name: PurePosixPath) -> PurePosixPath:
        """The requested file or directory that this member is, or is in."""
        parts = [part for one in self._requests if (part := one.matched_part(name))]
        if not parts:
            raise DownloadFailed(
                f"The server sent '{printable(name)}', which was not asked for: it is "
                "refused"
            )
        return max(parts, key=lambda part: len(part.parts))

    def place_checked(self, name: PurePosixPath) -> Path:
        """As `place`, but refuses what is in a directory unless `recursive`."""
        if not self.recursive and (requested := self._requested_part(name)) != name:
            raise DownloadFailed(f"'{printable(requested)}' is a directory")
        return self.place(name)


def _local(name: PurePosixPath) -> Path:
    return Path(*map(to_local, name.parts))


class Unpacking:
    """Extracts the files of one job in a thread while the stream arrives."""

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
            # From here on `put` discards its data: nobody waits for this thread.
            self._feed.close()

    @property
    def files(self) -> list[Path]:
        """Files written so far."""
        return [*self._unpacker.written.values()]

    @property
    def left_out(self) -> list[str]:
        """Why links and pipes were skipped."""
        return self._unpacker.left_out

    @property
    def has_failed(self) -> bool:
        """Whether the rest of the stream is of no use."""
        return self._error is not None

    def finish(self) -> None:
        """End the stream.  Raises the error that ended the extraction."""
        self._feed.put(b"")
        self._thread.join()
        if self._error is not None:
            raise self._error


class Receiver:
    """Sink for the server's `download` reply; keeps the outcome of each job."""

    def __init__(
        self,
        downloads: Mapping[str, Download],
        progress: Callable[[int], object] | None = None,
    ) -> None:
        self.marker = make_marker()
        self.done: dict[str, Downloaded] = {}
        self.has_respelled = False
        """Whether a name has to be asked for again in another form."""
        self._downloads = downloads
        self._progress = progress
        self._splitter = MarkerSplitter(self.marker, self._begin, self._content)
        self._job_id = ""
        self._seen: set[str] = set()
        self._unpacking: Unpacking | None = None
        self._status: int | None = None
        self._message = b""

    @property
    def arguments(self) -> list[str]:
        """The arguments of the server's `download`."""
        words = [self.marker]
        for job_id, download in self._downloads.items():
            words += [job_id, str(len(download.patterns)), *download.patterns]
        return words

    def take(self, data: bytes) -> None:
        """The transport's sink.

        Raises DownloadAborted once a job has failed for good: what follows of it would
        be received for nothing, and need never end.
        """
        self._splitter(data)
        if self._progress is not None:
            self._progress(len(data))

    def _begin(self, header: str) -> None:
        status, _, job_id = header.partition(" ")
        if status != "-":
            self._status = parse_integer(status)
            if self._status is None or job_id != self._job_id:
                raise garbled("download", f"{printable(header)!r} ends no job")
            return
        self.finish()
        if job_id not in self._downloads or job_id in self._seen:
            raise garbled("download", f"job '{printable(job_id)}' was not asked for")
        self._seen.add(job_id)
        self._job_id = job_id
        self._unpacking = Unpacking(self._downloads[job_id])

    def _content(self, data: bytes) -> None:
        if self._status is not None:
            self._message = (self._message + data)[:MESSAGE_LIMIT]
        elif self._unpacking is not None:
            self._unpacking.put(data)
            if self._unpacking.has_failed:
                # The error of the extraction is the outcome, as if the job had ended.
                self._status = 0
                self.finish()
                raise DownloadAborted

    def finish(self) -> None:
        """End the current job, and keep its outcome."""
        unpacking, self._unpacking = self._unpacking, None
        status, self._status = self._status, None
        message, self._message = self._message, b""
        if unpacking is None:
            return
        error: Error | None = None
        try:
            unpacking.finish()
        except Error as failure:
            error = failure
        if status:
            # The server knows better than the extraction why its archive is cut off.
            text = message.decode("utf-8", "surrogateescape").strip()
            if status == 22 and self._downloads[self._job_id].respell(text):
                self.has_respelled = True
                return
            lines = "\n".join(map(printable, text.splitlines()))
            error = error_of(status, lines, "download")
        if status is not None:
            for skipped in unpacking.left_out:
                logger.warning("Job '%s': not downloaded: %s", self._job_id, skipped)
            self.done[self._job_id] = Downloaded(unpacking.files, error)


def receive_all(
    downloads: Mapping[str, Download],
    done: dict[str, Downloaded],
    request: Callable[[Receiver], object],
    progress: Callable[[int], object] | None = None,
) -> None:
    """Request the jobs that are not in `done` until all of them are.

    `request(receiver)` asks for `receiver.arguments` and gives the reply to
    `receiver.take`.
    """
    while left := {one: downloads[one] for one in downloads if one not in done}:
        receiver = Receiver(left, progress)
        try:
            with contextlib.suppress(DownloadAborted):
                request(receiver)
        finally:
            receiver.finish()
            done.update(receiver.done)
        if not receiver.done and not receiver.has_respelled:
            raise garbled("download", f"job '{next(iter(left))}' is missing")
