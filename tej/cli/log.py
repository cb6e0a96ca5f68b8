"""Log of the commands: warnings on stderr, and more messages with `--verbose`."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, TextIO

from tej.cli.output import end_line
from tej.job.escaping import escape
from tej.queue.server_log import NOTICE


def log_to_stderr(verbose: int) -> None:
    """Write the log of tej to stderr, in more detail if `verbose` is 1 or 2."""
    level = (NOTICE, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    handler = _StderrHandler()
    handler.setFormatter(_EscapingFormatter("%(levelname)s: %(message)s"))
    logger = logging.getLogger("tej")
    logger.handlers[:] = [handler]
    logger.setLevel(level)


if TYPE_CHECKING:
    _StreamHandler = logging.StreamHandler[TextIO]
else:
    _StreamHandler = logging.StreamHandler  # no type parameter in Python 3.10


class _StderrHandler(_StreamHandler):
    """A log handler that writes to the current `sys.stderr`.

    While a progress bar is shown, rich replaces `sys.stderr`, so that other lines are
    printed above the bar and not into the bar.
    """

    def emit(self, record: logging.LogRecord) -> None:
        # Do not use `setStream`: it flushes the old stream, which may be closed.
        self.stream = sys.stderr
        end_line(err=True)
        super().emit(record)


class _EscapingFormatter(logging.Formatter):
    """A log formatter that escapes control characters.

    Log records contain text from the server, which must not control the terminal.
    """

    def format(self, record: logging.LogRecord) -> str:
        is_notice = record.levelno == NOTICE
        text = record.getMessage() if is_notice else super().format(record)
        return escape(text)
