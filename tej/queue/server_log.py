"""Logging of the standard error of programs on the server (logger `tej.server`)."""

from __future__ import annotations

import logging

NOTICE = logging.INFO + 5
"""Log level of notices, which the commands print like warnings, but without the word
"warning"."""


class ServerLogger:
    """Collects the standard error of one program on the server, and logs it.

    To send the text to another place, override `message` in a subclass, and return an
    instance of the subclass from `RemoteQueue.server_logger`.
    """

    logger = logging.getLogger("tej.server")

    def __init__(self) -> None:
        self.data: list[bytes] = []

    def append(self, data: bytes) -> None:
        """Store a received piece of the standard error."""
        self.data.append(data)

    def done(self) -> None:
        """Pass the collected text to `message`, after the program has ended."""
        text = b"".join(self.data).decode("utf-8", "replace").rstrip()
        self.data = []
        if text:
            self.message(text)

    def message(self, data: str) -> None:
        """Log the text to the logger `tej.server`, at level INFO."""
        self.logger.info(data)
