"""Timeout of a running program (`io_timeout`): limit the time without any data."""

from __future__ import annotations

import logging
import time

from tej.errors import ConnectionFailed
from tej.transport.program_start import HINT, NOTICE, Start

logger = logging.getLogger("tej")

IO_TIMEOUT = 120.0
"""Default of `io_timeout`: seconds without any data after which a request fails."""
IN_DOUBT = "the program may or may not have run"
WARNING_PERIOD = 60.0
"""Minimum number of seconds between two warnings about the same server."""
SUSPENDED = 5
"""Number of ticks (`IdleTimer.tick`) without a check after which this process counts as
suspended."""
_last_warnings: dict[str, float] = {}
"""Time of the last warning about each server."""


class Silence(ConnectionFailed):
    """A program has sent and received no data for `io_timeout` seconds."""

    cut = True


def cut_off(reason: str) -> ConnectionFailed:
    """Return the error for a connection that was lost while a program ran."""
    error = ConnectionFailed(f"{reason}; {IN_DOUBT}")
    error.cut = True
    return error


def no_exit_status(where: str) -> ConnectionFailed:
    """Return the error for a program that ended without an exit status."""
    return ConnectionFailed(
        f"The program on {where} ended without an exit status: a signal ended it, or "
        "the server reports no exit statuses. Its work may be incomplete"
    )


class IdleTimer:
    """Idle timeout: limits the time in which a program sends and receives no byte."""

    def __init__(self, where: str, io_timeout: float, start: Start) -> None:
        self.where = where
        self.io_timeout = io_timeout
        self.tick = min(1.0, io_timeout)
        """Seconds between two calls to `check`."""
        self._start = start
        self._begun = self._last = self._checked = time.monotonic()
        self._noticed = False

    def restart(self) -> None:
        """Restart the timer, because data has just been sent or received."""
        self._last = self._checked = time.monotonic()

    @property
    def idle(self) -> float:
        """Seconds since data was last sent or received."""
        return time.monotonic() - self._last

    def check(self) -> None:
        """Raise ConnectionFailed if no data was sent or received for too long.

        Before that, log a warning if start-up files on the server seem to hang.
        """
        now = time.monotonic()
        suspended, self._checked = now - self._checked, now
        if suspended > SUSPENDED * self.tick:
            # Do not count the time in which this process was suspended, for example by
            # Ctrl-Z: the server may have sent data, which has not been read yet.
            self._last = now
            self._begun += suspended
            return
        self._start.check(self.where)
        waited = time.monotonic() - self._begun
        silent = not self._start.ready
        if silent and waited > NOTICE and not self._noticed:
            self._noticed = True
            self._warn(waited)
        if silent and waited >= self.io_timeout:
            output = self._start.startup_output
            printed = f", but printed: {output}" if output else ""
            error = ConnectionFailed(
                f"{self.where} accepted the login, then did not run tej's program "
                f"within {self.io_timeout:g} s{printed}\n"
                f"{HINT.capitalize()}. To compare, run: ssh {self.where} true"
            )
            # tej does not retry after a permanent error: each attempt would take as
            # long as this one and fail in the same way.
            error.permanent = True
            raise error
        if self.idle >= self.io_timeout:
            raise Silence(
                f"{self.where} was silent for {self.io_timeout:g} s; {IN_DOUBT}"
            )

    def _warn(self, waited: float) -> None:
        """Log a warning, unless one about the same server was logged a short time ago.

        Many threads may start programs on the same slow server at the same time.
        """
        now = time.monotonic()
        last = _last_warnings.get(self.where)
        if last is not None and now - last < WARNING_PERIOD:
            return
        _last_warnings[self.where] = now
        logger.warning(
            "%s accepted the login but has not answered for %d s: %s. "
            "tej gives up %g s after the login.",
            *(self.where, waited, HINT, self.io_timeout),
        )
