"""Retry policy: how often a request is repeated after a lost connection."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tej.errors import AuthenticationFailed, ConnectionFailed, HostKeyRejected

logger = logging.getLogger("tej")

Result = TypeVar("Result")

STABLE = 60.0
"""Seconds of traffic after which a lost connection counts as one that had worked."""


@dataclass(frozen=True)
class Retries:
    """Number of attempts per request, and the pauses between them (backoff).

    The pauses double from `first` to at most `longest` seconds.  Each pause is
    multiplied by a random number between 0.5 and 1 (jitter), so that many clients do
    not retry at the same moment.
    """

    limit: int = 4
    first: float = 0.5
    longest: float = 30.0

    def pause(self, tries: int) -> None:
        """Sleep before the next attempt, after `tries` consecutive failures."""
        seconds = min(self.longest, self.first * 2 ** (tries - 1))
        time.sleep(seconds * random.uniform(0.5, 1))


def with_retries(
    retries: Retries,
    attempt: Callable[[int], Result],
    patient: Callable[[], bool] = lambda: False,
    reached: Callable[[], bool] = lambda: True,
) -> Result:
    """Call `attempt(failures)` until it returns or raises a permanent error.

    Use this only for requests that may safely be repeated, or that recognize their own
    earlier attempt.  Returns the value of `attempt`.

    Raises ConnectionFailed after `retries.limit` consecutive failures, unless
    `patient()` is true.  An error that a retry cannot cure, such as an unknown host, is
    raised at once, unless `patient()` is true or the server was `reached()` before.
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
            # A connection that carried data for long enough resets the counter.  The
            # elapsed time would not do: a server that accepts requests and then sends
            # nothing would use up a long timeout each time, and be retried forever.
            if error.lasted > STABLE:
                failures = 0
            failures += 1
            if failures >= retries.limit and not patient():
                raise
            logger.info("%s; trying again", error)
            retries.pause(failures)
