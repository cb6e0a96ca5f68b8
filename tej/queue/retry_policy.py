"""Retry policy: how often a request is repeated after a lost connection.

`Run.retry` in `run_result.py` and `batch_submission.py` run a failed job again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from tej.errors import AuthenticationFailed, ConnectionFailed, HostKeyRejected

logger = logging.getLogger("tej")

Result = TypeVar("Result")

STABLE = 60.0
"""Seconds for which a connection must carry data to count as stable.  The loss of a
stable connection resets the number of failures."""

OUTAGE_TIMEOUT = 600.0
"""Number of seconds for which a wait that has begun is continued although requests fail
on the server, or although the server refuses logins."""


@dataclass(frozen=True)
class Retries:
    """Number of attempts per request, and the pauses between the attempts (backoff).

    The pauses double from `first` to at most `longest` seconds.  Each pause is
    multiplied by a random number between 0.5 and 1 (jitter), because otherwise many
    clients would retry at the same moment.
    """

    limit: int = 4
    first: float = 0.5
    longest: float = 30.0

    def delay(self, tries: int) -> float:
        """Return the pause in seconds after `tries` failures, without the jitter."""
        # Limit the exponent, because a float overflows near 2 ** 1024, and the number
        # of tries is unlimited.
        return min(self.longest, self.first * 2.0 ** min(tries - 1, 60))

    def jittered_delay(self, tries: int) -> float:
        """Return the pause in seconds after `tries` failures, with the jitter."""
        # Import `random` only here: the import takes as long as the rest of this
        # module, and few requests fail.
        import random

        return self.delay(tries) * random.uniform(0.5, 1)

    def pause(self, tries: int) -> None:
        """Sleep before the next attempt, after `tries` failures in succession."""
        time.sleep(self.jittered_delay(tries))


class RefusedLogins:
    """Logins that the server has refused in succession, after a login had succeeded.

    After a reboot, a server may refuse all logins for a while, for example until the
    home directories are mounted.
    """

    def __init__(self) -> None:
        self._since: float | None = None
        self._count = 0

    def reset(self) -> None:
        """Forget the refused logins: the next refused login counts as the first."""
        self._since, self._count = None, 0

    def delay(self, retries: Retries, error: AuthenticationFailed) -> float | None:
        """Return the pause in seconds before the next login; None if `error` is final.

        The pauses double without a maximum, because a server may block an address after
        many refused logins.  The last login follows OUTAGE_TIMEOUT seconds after the
        first refusal.
        """
        now = time.monotonic()
        if self._since is None:
            self._since = now
        left = self._since + OUTAGE_TIMEOUT - now
        # The last pause may end a little early, because of rounding.
        if error.sent_secret or left < 0.1:
            return None
        if not self._count:
            logger.warning("%s; trying again for %g s", error, OUTAGE_TIMEOUT)
        self._count += 1
        longer = replace(retries, longest=OUTAGE_TIMEOUT)
        return min(left, longer.jittered_delay(self._count))

    def pause(self, retries: Retries, error: AuthenticationFailed) -> None:
        """Sleep before the next login; raise `error` if it is final."""
        delay = self.delay(retries, error)
        if delay is None:
            raise error
        time.sleep(delay)


def with_retries(
    retries: Retries,
    attempt: Callable[[int], Result],
    patient: Callable[[], bool] = lambda: False,
    reached: Callable[[], bool] = lambda: True,
) -> Result:
    """Call `attempt(failures)` until it succeeds or a retry is useless.

    Use this function only for a request that can safely be repeated, or that recognizes
    that an earlier attempt has succeeded.  Returns the value that `attempt` returns.

    Raises ConnectionFailed after `retries.limit` failures in succession, unless
    `patient()` returns true.  Some errors, such as an unknown host, are permanent.  A
    permanent error is raised without a retry if neither `patient()` nor `reached()`
    returns true.  `reached()` returns whether the server has ever replied.  A refused
    login is repeated only if `patient()` returns true, see `RefusedLogins`.
    """
    failures = 0
    refused = RefusedLogins()
    while True:
        try:
            return attempt(failures)
        except HostKeyRejected:
            raise
        except AuthenticationFailed as error:
            if not patient():
                raise
            refused.pause(retries, error)
        except ConnectionFailed as error:
            refused.reset()
            if error.permanent and not (reached() or patient()):
                raise
            # Reset the failure count if the connection carried data for longer than
            # STABLE seconds.  The elapsed time would be wrong: a server that sends
            # nothing fails only after a long timeout, so its count would always be
            # reset, and the request would be retried forever.
            # A long transfer may be lost again and again, so the user must know.
            level = logging.INFO
            if error.lasted > STABLE:
                failures, level = 0, logging.WARNING
            failures += 1
            if failures >= retries.limit and not patient():
                raise
            logger.log(level, "%s; trying again", error)
            retries.pause(failures)
