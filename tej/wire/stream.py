"""Adapters for streams: a pipe between two threads, and a dialogue with a program."""

from __future__ import annotations

import io
import queue
from collections.abc import Callable, Iterable, Iterator
from typing import IO, TYPE_CHECKING, cast

from tej.wire.framing import WordSplitter
from tej.wire.malformed_reply import malformed_reply
from tej.wire.replies import REPLY_LIMIT

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Feed(io.RawIOBase):
    """A bounded pipe between two threads: one calls `put`, the other calls `read`.

    `put` blocks while the pipe is full.  When the reader has closed the pipe, `put`
    discards its data.
    """

    def __init__(self, pieces: int = 16) -> None:
        self._pieces: queue.Queue[bytes] = queue.Queue(pieces)
        self._rest = memoryview(b"")
        self._ended = False

    def put(self, data: bytes) -> None:
        """Add a piece of data to the pipe; b"" marks the end of the data."""
        while not self.closed:
            try:
                # If the reader fails, it closes the pipe and reads no more.  After a
                # timeout, the loop checks again whether the pipe is closed.
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
        """Return a buffered file, whose `read(n)` returns n bytes until the end."""
        return cast("IO[bytes]", io.BufferedReader(self, 1024 * 1024))


class LastReply:
    """The last reply in a `Dialogue`, after which the program's input ends."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces)


class Dialogue:
    """Dialogue with a program that prints questions, and reads the replies, as it runs.

    The program's output consists of words that end with a NUL.  For each word
    "ask=QUESTION", `answer(question, words)` is called with the question and all words
    before the question.  `answer` returns the data to send to the program's input.
    """

    def __init__(self, answer: Callable[[str, list[bytes]], Iterable[bytes]]) -> None:
        self._answer = answer
        self._questions: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._splitter = WordSplitter("submit")
        self._size = 0
        self.words: list[bytes] = []

    def take(self, data: bytes) -> None:
        """Receive a piece of the program's output; empty `data` marks the end."""
        if not data:
            self._questions.put(None)
            return
        self._size += len(data)
        if self._size > REPLY_LIMIT:
            raise malformed_reply("submit", "it is too long")
        for word in self._splitter.feed(data):
            if word.startswith(b"ask="):
                self._questions.put(word[4:].decode("ascii", "replace"))
            else:
                self.words.append(word)

    def answers(self) -> Iterator[bytes]:
        """Yield the answers, which are sent to the remote program's stdin."""
        while (question := self._questions.get()) is not None:
            answer = self._answer(question, self.words)
            yield from answer
            if isinstance(answer, LastReply):
                return
