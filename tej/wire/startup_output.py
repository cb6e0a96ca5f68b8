"""Output of start-up files, such as `.bashrc`, before the reply of the server.

This output is dropped, and its size is limited.  The transport has already dropped the
output before the start of tej's program (`transport/program_start.py`).
"""

from __future__ import annotations

from tej import errors
from tej.wire.malformed_reply import malformed_reply, shorten

STARTUP_OUTPUT_LIMIT = 256 * 1024 * 1024
"""Maximum number of bytes that start-up files may print before the reply."""
STARTUP_OUTPUT_KEPT = 64 * 1024
"""Number of bytes before the reply that are stored for the error message."""


def redirection(what: str, verb: str) -> errors.RemoteCommandFailure:
    """Return the error for a start-up file that redirects the output of programs."""
    return errors.RemoteCommandFailure(
        f"A start-up file on the server redirects {what}, so tej cannot read the reply "
        f"to '{verb}', and it is unknown whether the request was carried out. In "
        "start-up files, redirect only if the shell is interactive",
        verb,
    )


class StartupOutput:
    """Drops the output before the marker, with which the reply begins."""

    def __init__(self, verb: str, marker: bytes) -> None:
        self._verb = verb
        self._marker = marker
        self._kept = bytearray()
        self._size = 0
        self.ended = False
        """Whether the marker has arrived."""

    @property
    def kept(self) -> bytes:
        """The last part of the output; b"" if the marker has arrived."""
        return bytes(self._kept)

    def after_marker(self, data: bytes) -> bytes:
        """Return the data after the marker, or b"" if it has not arrived yet.

        Searches only the new bytes and a few bytes before them.  A search of all
        earlier output for each piece would take quadratic time.
        """
        start = max(0, len(self._kept) - len(self._marker) + 1)
        self._kept += data
        self._size += len(data)
        found = self._kept.find(self._marker, start)
        if found >= 0:
            self.ended = True
            rest = bytes(self._kept[found + len(self._marker) :])
            self._kept.clear()
            return rest
        if self._size > STARTUP_OUTPUT_LIMIT:
            raise malformed_reply(
                self._verb,
                f"start-up files print text endlessly ({shorten(self.kept)})",
            )
        if len(self._kept) > 2 * STARTUP_OUTPUT_KEPT:
            del self._kept[:-STARTUP_OUTPUT_KEPT]
        return b""
