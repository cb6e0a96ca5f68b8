"""Receiver of a download: extracts the files of each job from the server's reply.

`wire/extraction.py` writes the files, and replaces existing files.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tej.errors import DownloadFailed, Error
from tej.job.file_names import printable, to_local
from tej.queue.file_patterns import FilePattern, OptionalFile, check_name
from tej.transport.local_shortage import start_thread
from tej.wire.extraction import Unpacker
from tej.wire.framing import MarkerSplitter
from tej.wire.malformed_reply import MESSAGE_LIMIT, malformed_reply
from tej.wire.records import parse_integer
from tej.wire.replies import error_of
from tej.wire.requests import make_marker
from tej.wire.stream import Feed

logger = logging.getLogger("tej")


@dataclass(frozen=True)
class Downloaded:
    """The outcome of a download from one job."""

    files: list[Path]
    """Paths of the files that were written, even if the download of other files
    failed."""
    error: Error | None = None
    token: str = field(default="", repr=False, compare=False)
    """Token with which the job was submitted; empty with older server scripts."""


class DownloadAborted(Exception):
    """Raised if one job's download failed, so that the rest of the reply is not read.

    The downloads of the remaining jobs have to be requested again.
    """


class Download:
    """The files requested from one job, and their local paths."""

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
        self._requests = [
            FilePattern(check_name(name), is_optional=isinstance(name, OptionalFile))
            for name in names
        ]
        self.recursive = recursive
        self.flatten = flatten
        self.directory = Path("." if directory is None else directory)
        self.destination = None if destination is None else Path(destination)
        if self.destination is not None and self.destination.is_dir():
            # As `cp` does, write the files into the destination if the destination is
            # an existing directory.
            self.directory, self.destination, self.flatten = (
                self.destination,
                None,
                True,
            )
        self._only: PurePosixPath | None = None
        """The only requested path that is written to `destination`."""

    @property
    def patterns(self) -> list[str]:
        """Names and patterns of the requested files, as sent to the server."""
        return [request.text for request in self._requests]

    @property
    def root(self) -> Path:
        """The local directory that contains all files that may be written."""
        return self.directory if self.destination is None else self.destination.parent

    def change_missing(self, message: str) -> bool:
        """Replace or remove the names that the server's `message` lists as missing.

        A name is replaced by another Unicode form, because a letter such as `é` may be
        one code point or two code points, and the server compares names as bytes.  If
        all Unicode forms have been tried, an `OptionalFile` is removed.  Returns False
        if any other name is missing, which is an error.
        """
        kept: list[FilePattern] = []
        changed = False
        for request in self._requests:
            if f"There is no '{request.text}' in job" not in message:
                kept.append(request)
                continue
            changed = True
            if other := request.respell():
                kept.append(other)
            elif not request.is_optional:
                return False
        self._requests = kept
        return changed

    def place(self, name: PurePosixPath) -> Path:
        """Return the local path for a member of the archive that the server sends.

        Raises DownloadFailed if the member was not requested, or if more than one file
        would be written to `destination`.
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
        """Return the requested file or directory that contains the member `name`."""
        parts = [part for one in self._requests if (part := one.matched_part(name))]
        if not parts:
            raise DownloadFailed(
                f"The server sent '{printable(name)}', which was not "
                "requested; the file was refused"
            )
        return max(parts, key=lambda part: len(part.parts))

    def place_checked(self, name: PurePosixPath) -> Path:
        """Check `recursive`, and return the local path of an archive member (`place`).

        Raises DownloadFailed if `recursive` is not set and the member is inside a
        requested directory.
        """
        if not self.recursive and (requested := self._requested_part(name)) != name:
            raise DownloadFailed(f"'{printable(requested)}' is a directory")
        return self.place(name)


def _local(name: PurePosixPath) -> Path:
    return Path(*map(to_local, name.parts))


class Unpacking:
    """Extracts the files of one job in a thread, while the server's reply arrives.

    A thread is necessary because the transport calls `put` with each piece of data,
    while the tar reader calls `read` when it needs data.
    """

    def __init__(self, download: Download) -> None:
        self._feed = Feed()
        self._unpacker = Unpacker(download.root, download.place_checked)
        self._error: BaseException | None = None
        self._thread = threading.Thread(
            target=self._unpack, name="tej download", daemon=True
        )
        self.put = self._feed.put
        start_thread(self._thread, "Download")

    def _unpack(self) -> None:
        try:
            self._unpacker.unpack(self._feed.as_file())
        except BaseException as error:
            self._error = error
        finally:
            # After `close`, `put` discards all further data.  Without `close`, `put`
            # would block the receiving thread once the pipe is full, because no thread
            # reads from the pipe.
            self._feed.close()

    @property
    def files(self) -> list[Path]:
        """Local paths of the files that have been written so far."""
        return [*self._unpacker.written.values()]

    @property
    def left_out(self) -> list[str]:
        """Messages, one for each link or pipe that was not extracted."""
        return self._unpacker.left_out

    @property
    def has_failed(self) -> bool:
        """Whether the extraction has failed; further data is then discarded."""
        return self._error is not None

    def finish(self) -> None:
        """Wait until the extraction has ended, and raise its error if it failed."""
        self._feed.put(b"")
        self._thread.join()
        if self._error is not None:
            raise self._error


class Receiver:
    """Sink for the server's reply to `download`; collects the outcome of each job."""

    def __init__(
        self,
        downloads: Mapping[str, Download],
        progress: Callable[[int], object] | None = None,
    ) -> None:
        self.marker = make_marker()
        self.done: dict[str, Downloaded] = {}
        self.has_changed = False
        """Whether `change_missing` has changed a download, so that the download must be
        requested again."""
        self._downloads = downloads
        self._progress = progress
        self._splitter = MarkerSplitter(
            "download", self.marker, self._begin, self._content
        )
        self._job_id = ""
        self._seen: set[str] = set()
        self._unpacking: Unpacking | None = None
        self._status: int | None = None
        """Exit status of the download from the current job; None until the job's
        archive has arrived."""
        self._message = b""

    @property
    def arguments(self) -> list[str]:
        """The arguments of the request `download`."""
        words = [self.marker]
        for job_id, download in self._downloads.items():
            words += [job_id, str(len(download.patterns)), *download.patterns]
        return words

    def take(self, data: bytes) -> None:
        """Process a piece of the server's reply, which the transport passes to `take`.

        Raises DownloadAborted once the extraction of a job has failed.  The rest of
        that job's data is useless, and a malicious server could send endless data.
        """
        self._splitter(data)
        if self._progress is not None:
            self._progress(len(data))

    def _begin(self, header: str) -> None:
        status, _, job_id = header.partition(" ")
        if status != "-":
            self._status = parse_integer(status)
            if self._status is None or job_id != self._job_id:
                raise malformed_reply(
                    "download", f"{printable(header)!r} does not end a job"
                )
            return
        self.finish()
        if job_id not in self._downloads or job_id in self._seen:
            raise malformed_reply(
                "download", f"job '{printable(job_id)}' was not requested"
            )
        self._seen.add(job_id)
        self._job_id = job_id
        self._unpacking = Unpacking(self._downloads[job_id])

    def _content(self, data: bytes) -> None:
        if self._status is not None:
            self._message = (self._message + data)[:MESSAGE_LIMIT]
        elif self._unpacking is not None:
            self._unpacking.put(data)
            if self._unpacking.has_failed:
                # Set the status, because without a status `finish` would not record
                # the error of the extraction as the outcome of the job.
                self._status = 0
                self.finish()
                raise DownloadAborted

    def finish(self) -> None:
        """End the download of the current job, and record its outcome."""
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
            # The server's error replaces the error of the extraction, which reports
            # only that the archive is incomplete.
            text = message.decode("utf-8", "surrogateescape").strip()
            download = self._downloads[self._job_id]
            if status == 22 and download.change_missing(text):
                self.has_changed = True
                if not download.patterns:
                    self.done[self._job_id] = Downloaded([])
                return
            lines = "\n".join(map(printable, text.splitlines()))
            error = error_of(status, lines, "download")
        if status is not None:
            for skipped in unpacking.left_out:
                logger.warning("Job '%s': not downloaded: %s", self._job_id, skipped)
            token = "" if status else _token_in(message)
            self.done[self._job_id] = Downloaded(unpacking.files, error, token)


def _token_in(message: bytes) -> str:
    """Return the token in the words that follow a complete download, or ''."""
    found = re.search(rb"^token=([0-9a-f]{1,64})$", message, re.MULTILINE)
    return found[1].decode() if found else ""


def receive_all(
    downloads: Mapping[str, Download],
    done: dict[str, Downloaded],
    request: Callable[[Receiver], object],
    progress: Callable[[int], object] | None = None,
) -> None:
    """Request the downloads until `done` contains the outcome of each job.

    `request(receiver)` must send `receiver.arguments` to the server, and pass the reply
    to `receiver.take`.
    """
    while left := {one: downloads[one] for one in downloads if one not in done}:
        receiver = Receiver(left, progress)
        try:
            with contextlib.suppress(DownloadAborted):
                request(receiver)
        finally:
            receiver.finish()
            done.update(receiver.done)
        if not receiver.done and not receiver.has_changed:
            raise malformed_reply("download", f"job '{next(iter(left))}' is missing")
