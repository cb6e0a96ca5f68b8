"""Retry policy: how often a request is repeated after a lost connection."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tej.errors import AuthenticationFailed, ConnectionFailed, HostKeyRejected

logger = logging.getLogger("tej")

Result = TypeVar("Result")

STABLE = 60.0
"""Seconds for which a connection must carry data to count as stable.  The loss of a
stable connection resets the number of failures."""


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
        # The exponent is limited, because the number of tries is unlimited, and a float
        # overflows near 2 ** 1024.
        return min(self.longest, self.first * 2.0 ** min(tries - 1, 60))

    def pause(self, tries: int) -> None:
        """Sleep before the next attempt, after `tries` failures in succession."""
        # `random` is imported here, because few requests fail, and because the import
        # takes as long as the rest of this module.
        import random

        time.sleep(self.delay(tries) * random.uniform(0.5, 1))


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
    returns true.  `reached()` returns whether the server has ever replied.
    """
    failures = 0
    while True:
        try:
            return attempt(failures)
        except (AuthenticationFailed, HostKeyRejected):
            raise
        except ConnectionFailed as error:
            if error.permanent and not (reached() or patient()):
                raise
            # Reset the failure count if the connection carried data for longer than
            # STABLE seconds.  The elapsed time is not used instead: a server that
            # accepts requests but sends nothing fails only after a long timeout, so the
            # count would be reset each time, and the request retried forever.
            if error.lasted > STABLE:
                failures = 0
            failures += 1
            if failures >= retries.limit and not patient():
                raise
            logger.info("%s; trying again", error)
            retries.pause(failures)
