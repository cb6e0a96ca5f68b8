"""Output of a job as it comes, by byte offset: a lost connection costs nothing."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tej.job.status import JobStatus
from tej.queue.retry import Exchange
from tej.wire import protocol
from tej.wire.framing import Pieces, make_marker
from tej.wire.protocol import Program

STREAMS = {"stdout": "_stdout", "stderr": "_stderr"}
"""What they are called in the job's directory."""


@dataclass
class Position:
    """How far one file was read."""

    name: str
    offset: int | None = None
    """In bytes; None before the server was asked."""
    tail: int | None = None
    """Lines from the end where it is to begin."""


@dataclass(frozen=True)
class Piece:
    """Some bytes of one file."""

    name: str
    data: bytes


class _Reader:
    """Puts together what the server's `logs` prints."""

    def __init__(
        self, positions: Sequence[Position], emit: Callable[[Piece], object]
    ) -> None:
        self.marker = make_marker()
        self.take = Pieces(self.marker, self._begin, self._content)
        self.record = b""
        self._positions = positions
        self._emit = emit
        self._position: Position | None = None
        self._at = 0

    def _begin(self, header: str) -> None:
        self._at, number = map(int, header.split())
        self._position = self._positions[number - 1] if number else None
        if self._position is not None and self._position.offset is None:
            self._position.offset = self._at

    def _content(self, data: bytes) -> None:
        position = self._position
        if position is None or position.offset is None:
            self.record += data
            return
        # What was sent twice, since the file grew while it was read.
        new = data[max(0, position.offset - self._at) :]
        self._at += len(data)
        if new:
            position.offset = self._at
            self._emit(Piece(position.name, new))


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
        reader = _Reader([*self.positions.values()], emit)

        def take(data: bytes) -> None:
            self._begun = self._begun or bool(data)
            reader.take(data)

        arguments: list[str] = []
        for position in self.positions.values():
            offset = "" if position.offset is None else str(position.offset)
            tail = "" if position.tail is None else str(position.tail)
            arguments += [position.name, offset, tail]
        self._exchange.run_verb(
            lambda digest: self._make(digest, reader.marker, arguments), take
        )
        answer = protocol.parse_answer(reader.record)
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
