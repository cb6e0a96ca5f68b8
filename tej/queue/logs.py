"""Logs: the output of a job, read by byte offset.

After a lost connection, reading resumes at the offset of the first byte that was not
received.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from tej.job.job_id import check_job_reference
from tej.job.status import JobStatus
from tej.queue.connection import QueueConnection
from tej.queue.file_patterns import check_name
from tej.transport.local_shortage import start_thread
from tej.wire.framing import MarkerSplitter
from tej.wire.malformed_reply import malformed_reply
from tej.wire.records import parse_integer, parse_status
from tej.wire.replies import parse_reply
from tej.wire.requests import make_marker

STREAMS = {"stdout": "_stdout", "stderr": "_stderr"}
"""File names of the output streams in the job's directory."""

LONGEST_LINE = 1 << 20
"""Maximum length of a line in bytes; a longer line is split."""


@dataclass
class Position:
    """The position up to which one file has been read."""

    name: str
    offset: int | None = None
    """Offset in bytes of the next byte to read, or None before the server's first
    reply."""
    tail: int | None = None
    """Number of lines at the end of the file to read, or None to read the whole
    file."""


@dataclass(frozen=True)
class Piece:
    """Consecutive bytes of one file."""

    name: str
    data: bytes


class _OutputParser:
    """Parser of the output of the server's `logs` command."""

    def __init__(
        self, positions: Sequence[Position], emit: Callable[[Piece], object]
    ) -> None:
        self.marker = make_marker()
        self.take = MarkerSplitter("logs", self.marker, self._begin, self._content)
        self.record = b""
        self._positions = positions
        self._emit = emit
        self._position: Position | None = None
        self._at = 0

    def _begin(self, header: str) -> None:
        at, _, number = header.partition(" ")
        offset, index = parse_integer(at), parse_integer(number)
        if offset is None or index is None or index > len(self._positions):
            raise malformed_reply("logs", f"{header[:40]!r} is not a position")
        self._at = offset
        self._position = self._positions[index - 1] if index else None
        if self._position is not None and self._position.offset is None:
            self._position.offset = self._at

    def _content(self, data: bytes) -> None:
        position = self._position
        if position is None or position.offset is None:
            self.record += data
            return
        # The server may send a part of a growing file twice. Skip the bytes that `emit`
        # has already received.
        new = data[max(0, position.offset - self._at) :]
        self._at += len(data)
        if new:
            position.offset = self._at
            self._emit(Piece(position.name, new))


def open_logs(
    connection: QueueConnection,
    job_id: str,
    streams: Iterable[str],
    *,
    follow: bool,
    tail: int | None,
) -> Logs:
    """Return a reader of several files; see `RemoteQueue.read_logs`."""
    check_job_reference(job_id)
    names = [STREAMS.get(stream) or check_name(stream) for stream in streams]
    positions = [Position(name, tail=tail) for name in names]
    return Logs(connection, job_id, positions, follow=follow)


class Logs:
    """Reader of files in one job's directory; can follow them until the job ends."""

    def __init__(
        self,
        connection: QueueConnection,
        job_id: str,
        positions: Sequence[Position],
        *,
        follow: bool,
    ) -> None:
        self._connection = connection
        self._job_id = job_id
        self._follow = follow
        self.positions = {position.name: position for position in positions}
        """The read position in each file, by file name."""
        self.status: JobStatus | None = None
        """Status of the job at the time when the files had been read completely; None
        before that time."""
        self._idle = 0  # attempts since the last attempt that read new content

    def read(
        self,
        emit: Callable[[Piece], object],
        on_data: Callable[[], object] = lambda: None,
    ) -> None:
        """Read the files, and pass their content to `emit` in pieces, in this thread.

        After a lost connection, reading resumes where it stopped.  If `follow` is true,
        the number of retries is unlimited as soon as the first login has succeeded.
        Otherwise, the retry policy limits the number of successive attempts that read
        no new content.  `on_data` is called for each piece of data from the server,
        which sends data at least every 15 seconds.  If `emit` or `on_data` raises an
        exception, the reading ends with that exception.
        """
        self._connection.with_retries(
            lambda _: self._read_once(emit, on_data), patient=self._is_patient
        )

    def _is_patient(self) -> bool:
        return self._connection.reached and (
            self._follow or self._idle < self._connection.retries.limit
        )

    def _read_once(
        self, emit: Callable[[Piece], object], on_data: Callable[[], object]
    ) -> None:
        self._idle += 1

        def emit_new(piece: Piece) -> None:
            self._idle = 0
            emit(piece)

        parser = _OutputParser([*self.positions.values()], emit_new)

        def take(data: bytes) -> None:
            on_data()
            parser.take(data)

        arguments: list[str] = []
        for position in self.positions.values():
            offset = "" if position.offset is None else str(position.offset)
            tail = "" if position.tail is None else str(position.tail)
            arguments += [position.name, offset, tail]
        words = (parser.marker, str(int(self._follow)), self._job_id, *arguments)
        self._connection.run_verb("logs", *words, take=take)
        answer = parse_reply(parser.record, "logs")
        if not answer.jobs:
            raise malformed_reply("logs", "the job's record is missing")
        self.status = parse_status(answer.jobs[0], answer.head)


def read_stream(
    connection: QueueConnection,
    job_id: str,
    stream: str,
    *,
    follow: bool,
    tail: int | None,
    lines: bool,
) -> Iterator[bytes]:
    """Yield the content of one file, as lines or pieces; see `RemoteQueue.logs`."""
    reader = open_logs(connection, job_id, [stream], follow=follow, tail=tail)
    pieces = iterate(reader)
    if lines:
        return split_lines(pieces)
    return (piece.data for piece in pieces)


class _Abandoned(Exception):
    """Raised in the reading thread to end the thread after `close`."""


class LogThread:
    """Thread that reads files of a job, and a buffer of the pieces that it has read.

    The thread cannot be interrupted while it waits for the server.  The thread is
    therefore a daemon thread, and ends when it receives the next data after `close`.
    """

    def __init__(self, logs: Logs, wake: Callable[[], object] = lambda: None) -> None:
        """Start to read.

        `wake` is called in the thread after a piece was added to the buffer, and must
        return immediately.
        """
        self.pieces: queue.Queue[Piece | BaseException | None] = queue.Queue(64)
        """The pieces, followed by the exception that ended the reading, or by None."""
        self._logs = logs
        self._wake = wake
        self._closed = threading.Event()
        thread = threading.Thread(target=self._read, name="tej logs", daemon=True)
        start_thread(thread, "Output of a job")

    def close(self) -> None:
        """Make the thread end when it receives the next data."""
        self._closed.set()

    def _read(self) -> None:
        try:
            self._logs.read(self._emit, self._check)
            self._emit(None)
        except _Abandoned:
            return
        except BaseException as error:
            # After `close`, the caller no longer reads, so the error cannot be
            # reported.
            with contextlib.suppress(_Abandoned):
                self._emit(error)

    def _check(self) -> None:
        if self._closed.is_set():
            raise _Abandoned

    def _emit(self, piece: Piece | BaseException | None) -> None:
        while True:
            self._check()
            try:
                self.pieces.put(piece, timeout=0.2)
            except queue.Full:
                continue
            self._wake()
            return


def iterate(logs: Logs) -> Iterator[Piece]:
    """Yield the pieces that a background thread reads."""
    thread = LogThread(logs)
    try:
        while (piece := thread.pieces.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            yield piece
    finally:
        thread.close()


class LineSplitter:
    """Splits data that arrives in pieces into lines, including their line ends.

    The last line may have no line end.  A line that is longer than LONGEST_LINE bytes
    is returned in parts.
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Add data; returns the lines that are complete now."""
        # Only the new data is searched for a line end.  If the whole of a long line
        # were searched again for each piece, the search would take quadratic time.
        whole, newline, begun = data.rpartition(b"\n")
        lines: list[bytes] = []
        if newline:
            lines = [line + b"\n" for line in (self._rest + whole).split(b"\n")]
            self._rest = begun
        else:
            self._rest += begun
        if len(self._rest) > LONGEST_LINE:
            lines += self.finish()
        return lines

    def finish(self) -> list[bytes]:
        """Return the last, incomplete line, which has no line end."""
        rest, self._rest = self._rest, b""
        return [rest] if rest else []


def split_lines(pieces: Iterable[Piece]) -> Iterator[bytes]:
    """Yield the lines in `pieces`; see `LineSplitter`."""
    splitter = LineSplitter()
    for piece in pieces:
        yield from splitter.feed(piece.data)
    yield from splitter.finish()


def scheduler_log(connection: QueueConnection, job_id: str) -> bytes:
    """Return the scheduler's messages; see `RemoteQueue.scheduler_log`."""
    check_job_reference(job_id)
    reply = connection.with_retries(
        lambda _: connection.run_verb("scheduler_log", job_id)
    )
    # While the scheduler is slow, the server sends NUL bytes as keep-alives.
    return reply.data.replace(b"\0", b"")


def on_end_log(connection: QueueConnection, job_id: str) -> bytes:
    """Return the output of the command `on_end`; see `RemoteQueue.on_end_log`."""
    check_job_reference(job_id)
    reply = connection.with_retries(lambda _: connection.run_verb("on_end_log", job_id))
    return reply.data
