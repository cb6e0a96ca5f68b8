"""Where words from the server go that are not part of an answer."""

from __future__ import annotations

import logging


class ServerLogger:
    """Takes what the server writes on its standard error, and logs it.

    Override `message`, or give `RemoteQueue.server_logger` another one, to show it
    elsewhere.
    """

    logger = logging.getLogger("tej.server")

    def __init__(self) -> None:
        self.data: list[bytes] = []

    def append(self, data: bytes) -> None:
        """Take a piece, as it comes."""
        self.data.append(data)

    def done(self) -> None:
        """There is no more: hand all to `message`."""
        text = b"".join(self.data).decode("utf-8", "replace").rstrip()
        self.data = []
        if text:
            self.message(text)

    def message(self, data: str) -> None:
        """Log at level INFO, to `tej.server`."""
        self.logger.info(data)
