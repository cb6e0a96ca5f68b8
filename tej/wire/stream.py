"""Between a transport, which pushes, and what reads or answers at its own pace."""

from __future__ import annotations

import io
import queue
from collections.abc import Callable, Iterable, Iterator
from typing import IO, TYPE_CHECKING, cast

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Feed(io.RawIOBase):
    """A sink on one side, a file on the other: reading waits for what is put.

    Bounded: whoever puts waits for whoever reads.  Once closed by the reader, it takes
    all that comes and keeps nothing.
    """

    def __init__(self, pieces: int = 16) -> None:
        self._pieces: queue.Queue[bytes] = queue.Queue(pieces)
        self._rest = memoryview(b"")
        self._ended = False

    def put(self, data: bytes) -> None:
        """Give a piece; b"" is the end."""
        while not self.closed:
            try:
                self._pieces.put(data, timeout=0.2)
            except queue.Full:
                continue
            return

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer).cast("B")
        if not self._rest and not self._ended:
            self._rest = memoryview(self._pieces.get())
            self._ended = not self._rest
        count = min(len(view), len(self._rest))
        view[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def as_file(self) -> IO[bytes]:
        """Buffered: a read gets all that it asks for, unless the end comes first."""
        return cast("IO[bytes]", io.BufferedReader(self, 1024 * 1024))


class LastAnswer:
    """One after which the program's input ends: it reads to the end of it."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces)


class Dialogue:
    """A program that asks on its output, and is answered on its input.

    Its output are words, each ended by a NUL.  `answer(question, words)` gets the value
    of each word "ask=...", and the words before it; it returns what to send.
    """

    def __init__(self, answer: Callable[[str, list[bytes]], Iterable[bytes]]) -> None:
        self._answer = answer
        self._questions: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._unread = b""
        self.words: list[bytes] = []

    def take(self, data: bytes) -> None:
        """The transport's sink."""
        if not data:
            self._questions.put(None)
            return
        *words, self._unread = (self._unread + data).split(b"\0")
        for word in words:
            if word.startswith(b"ask="):
                self._questions.put(word[4:].decode())
            else:
                self.words.append(word)

    def answers(self) -> Iterator[bytes]:
        """The transport's standard input."""
        while (question := self._questions.get()) is not None:
            answer = self._answer(question, self.words)
            yield from answer
            if isinstance(answer, LastAnswer):
                return
