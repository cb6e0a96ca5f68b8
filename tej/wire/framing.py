"""Cuts what a program prints into pieces, at a marker that cannot be in them."""

from __future__ import annotations

import secrets
from collections.abc import Callable


def make_marker() -> str:
    """One that nothing on the server can have in it."""
    return f"tej-{secrets.token_hex(16)}"


class Pieces:
    """A sink: calls `begin` with what stands in the line behind each marker, and
    `content` with what follows it, as it comes.  What is before the first one is
    dropped, and so is a marker that is cut off by the end."""

    def __init__(
        self,
        marker: str,
        begin: Callable[[str], object],
        content: Callable[[bytes], object],
    ) -> None:
        self._marker = marker.encode() + b" "
        self._begin = begin
        self._take = content
        self._unread = b""
        self._begun = False

    def __call__(self, data: bytes) -> None:
        self._unread += data
        while True:
            before, marker, after = self._unread.partition(self._marker)
            header, newline, rest = after.partition(b"\n")
            if not newline:
                safe = len(before) if marker else self._safe_length(before)
                self._content(before[:safe])
                self._unread = self._unread[safe:]
                return
            self._content(before)
            self._begun = True
            self._begin(header.decode("utf-8", "surrogateescape"))
            self._unread = rest

    def _content(self, data: bytes) -> None:
        if data and self._begun:
            self._take(data)

    def _safe_length(self, data: bytes) -> int:
        """The length of `data` without what may be the beginning of a marker."""
        for length in range(min(len(self._marker) - 1, len(data)), 0, -1):
            if data.endswith(self._marker[:length]):
                return len(data) - length
        return len(data)
