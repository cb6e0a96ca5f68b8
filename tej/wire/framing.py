"""Framing of replies: words, each ended by a NUL, and data, each after a marker."""

from __future__ import annotations

from collections.abc import Callable

from tej.wire.malformed_reply import malformed_reply

WORD_LIMIT = 16 * 1024 * 1024
"""Maximum size in bytes of a word in a reply."""
_HEADER_LIMIT = 4096
"""Maximum size in bytes of the line after a marker."""


class WordSplitter:
    """Splits the reply to a request into words that end with a NUL."""

    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._unread: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Add a piece of the stream; returns the words that end in this piece."""
        first, *others = data.split(b"\0")
        self._unread.append(first)
        self._size += len(first)
        if self._size > WORD_LIMIT:
            raise malformed_reply(self._verb, "a word is too long")
        if not others:
            return []
        words = [b"".join(self._unread), *others[:-1]]
        self._unread, self._size = [others[-1]], len(others[-1])
        return words


class RecordSplitter:
    """Splits a reply into complete records (one per job) while the reply arrives.

    The word `id=...` begins a record.  A record is complete as soon as the next record
    begins or an empty word follows.  A piece of the stream may end inside a record.
    """

    def __init__(self, verb: str) -> None:
        self._splitter = WordSplitter(verb)
        self._unread: list[bytes] = []

    def feed(self, data: bytes) -> bytes:
        """Add a piece of the stream; returns the records that are complete now."""
        self._unread += self._splitter.feed(data)
        end = len(self._unread)
        while end and self._unread[end - 1]:
            end -= 1
            if self._unread[end].startswith(b"id="):
                break
        complete, self._unread = self._unread[:end], self._unread[end:]
        return b"\0".join(complete)

    def close(self) -> bytes:
        """Return the last record; called only if the whole stream was received.

        The last record of older server scripts is not followed by an empty word.
        """
        last, self._unread = self._unread, []
        return b"\0".join(last)


class MarkerSplitter:
    """Sink that splits a stream at its markers.

    `begin` is called after each marker, with the rest of the marker's line.  `content`
    is called with the bytes after that line, as they arrive.  The splitter drops all
    bytes before the first marker, and an incomplete marker at the end of the stream.
    """

    def __init__(
        self,
        verb: str,
        marker: str,
        begin: Callable[[str], object],
        content: Callable[[bytes], object],
    ) -> None:
        self._verb = verb
        self._marker = marker.encode() + b" "
        self._on_header = begin
        self._on_content = content
        self._unread = b""
        self._begun = False

    def __call__(self, data: bytes) -> None:
        self._unread += data
        while True:
            before, marker, after = self._unread.partition(self._marker)
            header, newline, rest = after.partition(b"\n")
            if len(header) > _HEADER_LIMIT:
                raise malformed_reply(self._verb, "the line after a marker is too long")
            if not newline:
                safe = len(before) if marker else self._safe_length(before)
                self._pass_content(before[:safe])
                self._unread = self._unread[safe:]
                return
            self._pass_content(before)
            self._begun = True
            self._on_header(header.decode("utf-8", "surrogateescape"))
            self._unread = rest

    def _pass_content(self, data: bytes) -> None:
        if data and self._begun:
            self._on_content(data)

    def _safe_length(self, data: bytes) -> int:
        """Return the length of `data` before a possible partial marker at its end."""
        for length in range(min(len(self._marker) - 1, len(data)), 0, -1):
            if data.endswith(self._marker[:length]):
                return len(data) - length
        return len(data)
