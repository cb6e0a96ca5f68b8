"""Output of a job as it comes, by byte offset: a lost connection costs nothing."""

from __future__ import annotations

import queue
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from tej import protocol
from tej.job import JobStatus
from tej.protocol import Program
from tej.queue.exchange import Exchange

STREAMS = {"stdout": "_stdout", "stderr": "_stderr"}
"""What they are called in the job's directory."""


@dataclass
class Position:
    """How far one file was read."""

    name: str
    offset: int | None = None
    """In bytes; None before anything was."""
    tail: int | None = None
    """Lines from the end where it is to begin."""


@dataclass(frozen=True)
class Piece:
    """Some bytes of one file."""

    name: str
    data: bytes


@dataclass
class _Frames:
    """Cuts what the server's `logs` prints into pieces."""

    marker: bytes
    positions: dict[str, Position]
    emit: Callable[[Piece], object]
    _unread: bytes = b""
    _name: str | None = None
    _at: int = 0
    record: list[bytes] = field(default_factory=list)

    def __call__(self, data: bytes) -> None:
        self._unread += data
        while True:
            before, marker, after = self._unread.partition(self.marker)
            if not marker:
                # The beginning of a marker may be at the end.
                keep = 0 if not data else len(self.marker) - 1
                safe = max(0, len(before) - keep)
                self._content(before[:safe])
                self._unread = before[safe:]
                return
            header, newline, rest = after.partition(b"\n")
            if not newline:
                if not data:
                    return
                self._content(before)
                self._unread = marker + after
                return
            self._content(before)
            _, offset, name = header.split(b" ", 2)
            self._at, self._name = int(offset), name.decode("utf-8", "surrogateescape")
            self._unread = rest

    def _content(self, data: bytes) -> None:
        if not data or self._name is None:
            return
        if not self._name:
            self.record.append(data)
            return
        position = self.positions[self._name]
        # What was sent twice, since the file grew while it was read.
        known = self._at if position.offset is None else position.offset
        new = data[max(0, known - self._at) :]
        self._at += len(data)
        if new:
            position.offset = self._at
            self.emit(Piece(self._name, new))


class Logs:
    """Reads files of one job's directory, until the job ends if asked."""

    def __init__(
        self,
        exchange: Exchange,
        make: Callable[[str, str, Sequence[str]], Program],
        positions: Sequence[Position],
    ) -> None:
        """`make(digest, marker, arguments)` gives the program."""
        self._exchange = exchange
        self._make = make
        self.positions = {position.name: position for position in positions}
        self.status: JobStatus | None = None
        """The job's, once all was read."""
        self._begun = False

    def read(self, emit: Callable[[Piece], object]) -> None:
        """Give all pieces to `emit`, in this thread.

        Resumes after lost connections; once it has begun, with patience.
        """
        self._exchange.settle(
            lambda _: self._read_once(emit), patient=lambda: self._begun
        )

    def _read_once(self, emit: Callable[[Piece], object]) -> None:
        marker = f"tej-{secrets.token_hex(16)}"
        frames = _Frames(marker.encode(), self.positions, emit)

        def take(data: bytes) -> None:
            self._begun = self._begun or bool(data)
            frames(data)

        arguments: list[str] = []
        for position in self.positions.values():
            offset = "" if position.offset is None else str(position.offset)
            tail = "" if position.tail is None else str(position.tail)
            arguments += [position.name, offset, tail]
        self._exchange.run_verb(
            lambda digest: self._make(digest, marker, arguments), take
        )
        answer = protocol.parse_answer(b"".join(frames.record))
        self.status = protocol.parse_status(answer.jobs[0], answer.head)


class _Abandoned(Exception):
    """Whoever read the pieces has gone."""


def iterate(logs: Logs) -> Iterator[Piece]:
    """The pieces as an iterator: they are read in a thread of its own."""
    pieces: queue.Queue[Piece | BaseException | None] = queue.Queue(64)
    gone = threading.Event()

    def emit(piece: Piece | BaseException | None) -> None:
        while not gone.is_set():
            try:
                pieces.put(piece, timeout=0.2)
            except queue.Full:
                continue
            return
        raise _Abandoned

    def read() -> None:
        try:
            logs.read(emit)
            emit(None)
        except _Abandoned:
            return
        except BaseException as error:
            emit(error)

    threading.Thread(target=read, name="tej logs", daemon=True).start()
    try:
        while (piece := pieces.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            yield piece
    finally:
        gone.set()
