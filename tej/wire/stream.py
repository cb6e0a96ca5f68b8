"""Stream adapters between a transport, which pushes data, and code that pulls it."""

from __future__ import annotations

import io
import queue
from collections.abc import Callable, Iterable, Iterator
from typing import IO, TYPE_CHECKING, cast

from tej.wire.framing import WordSplitter
from tej.wire.replies import REPLY_LIMIT, garbled

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Feed(io.RawIOBase):
    """A bounded pipe between two threads: one calls `put`, the other reads a file.

    `put` blocks while the pipe is full.  After the reader has closed the pipe, `put`
    discards its data.
    """

    def __init__(self, pieces: int = 16) -> None:
        self._pieces: queue.Queue[bytes] = queue.Queue(pieces)
        self._rest = memoryview(b"")
        self._ended = False

    def put(self, data: bytes) -> None:
        """Add a piece; b"" marks the end."""
        while not self.closed:
            try:
                # A timeout, because a reader that fails closes the pipe without reading
                # the rest: check again whether it is closed.
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
        """Return a buffered file, whose `read(n)` returns n bytes except at the end."""
        return cast("IO[bytes]", io.BufferedReader(self, 1024 * 1024))


class LastAnswer:
    """The last answer: the program's input ends after it."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces)


class Dialogue:
    """Answers the questions that a program prints while it runs.

    The program's output consists of words that end with a NUL.  For each word
    "ask=QUESTION", `answer(question, words)` is called with the question and all words
    before it.  `answer` returns the data to send to the program's input.
    """

    def __init__(self, answer: Callable[[str, list[bytes]], Iterable[bytes]]) -> None:
        self._answer = answer
        self._questions: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._splitter = WordSplitter()
        self._size = 0
        self.words: list[bytes] = []

    def take(self, data: bytes) -> None:
        """Take output of the program; this is the transport's sink."""
        if not data:
            self._questions.put(None)
            return
        self._size += len(data)
        if self._size > REPLY_LIMIT:
            raise garbled("submit", "it is too long")
        for word in self._splitter.feed(data):
            if word.startswith(b"ask="):
                self._questions.put(word[4:].decode("ascii", "replace"))
            else:
                self.words.append(word)

    def answers(self) -> Iterator[bytes]:
        """Yield the answers; this is the transport's standard input."""
        while (question := self._questions.get()) is not None:
            answer = self._answer(question, self.words)
            yield from answer
            if isinstance(answer, LastAnswer):
                return
