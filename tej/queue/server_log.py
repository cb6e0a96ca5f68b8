"""Log of the server's standard error."""

from __future__ import annotations

import logging


class ServerLogger:
    """Collects the standard error of one program on the server, and logs it.

    To show the text elsewhere, override `message`, and return the subclass from
    `RemoteQueue.server_logger`.
    """

    logger = logging.getLogger("tej.server")

    def __init__(self) -> None:
        self.data: list[bytes] = []

    def append(self, data: bytes) -> None:
        """Add received bytes."""
        self.data.append(data)

    def done(self) -> None:
        """End of the stream: pass the text to `message`."""
        text = b"".join(self.data).decode("utf-8", "replace").rstrip()
        self.data = []
        if text:
            self.message(text)

    def message(self, data: str) -> None:
        """Log the text at level INFO to `tej.server`."""
        self.logger.info(data)
