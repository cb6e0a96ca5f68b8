"""Logging of the standard error of programs on the server (logger `tej.server`)."""

from __future__ import annotations

import logging


class ServerLogger:
    """Collects the standard error of one program on the server, and logs it.

    To show the text elsewhere, override `message` in a subclass, and return an instance
    of the subclass from `RemoteQueue.server_logger`.
    """

    logger = logging.getLogger("tej.server")

    def __init__(self) -> None:
        self.data: list[bytes] = []

    def append(self, data: bytes) -> None:
        """Add received bytes."""
        self.data.append(data)

    def done(self) -> None:
        """Pass the text to `message`; called at the end of the stream."""
        text = b"".join(self.data).decode("utf-8", "replace").rstrip()
        self.data = []
        if text:
            self.message(text)

    def message(self, data: str) -> None:
        """Log the text to `tej.server`, at level INFO."""
        self.logger.info(data)
