"""Head and tail of a stream: collect a stream of any length in limited memory."""

from __future__ import annotations

KEPT = 1 << 20
"""Number of bytes that are stored from the beginning, and from the end, of a stream."""


class HeadAndTail:
    """The first and the last `limit` bytes of a stream, without the bytes in
    between."""

    def __init__(self, limit: int = KEPT) -> None:
        self._limit = limit
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped = 0

    def add(self, data: bytes) -> None:
        """Add a piece of the stream."""
        room = self._limit - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        # The tail is cut back to the limit only when it is longer than twice the limit,
        # because each cut moves all remaining bytes.
        if len(self._tail) > 2 * self._limit:
            self._shorten()

    def _shorten(self) -> None:
        excess = max(0, len(self._tail) - self._limit)
        del self._tail[:excess]
        self._dropped += excess

    @property
    def value(self) -> bytes:
        """The stream, with a line in place of the bytes that were dropped."""
        self._shorten()
        gap = b"\n[... %d bytes ...]\n" % self._dropped if self._dropped else b""
        return bytes(self._head) + gap + bytes(self._tail)
