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
"""Seconds of traffic after which a lost connection had been a working one."""


@dataclass(frozen=True)
class Retries:
    """Number of attempts per request, and the pauses between them.

    The pauses double from `first` to at most `longest` seconds.  Each is multiplied by
    a random number between 0.5 and 1, so that many clients do not return at once.
    """

    limit: int = 4
    first: float = 0.5
    longest: float = 30.0

    def pause(self, tries: int) -> None:
        """Sleep before the next attempt, after `tries` failures in a row."""
        seconds = min(self.longest, self.first * 2 ** (tries - 1))
        time.sleep(seconds * random.uniform(0.5, 1))


def with_retries(
    retries: Retries,
    attempt: Callable[[int], Result],
    patient: Callable[[], bool] = lambda: False,
    reached: Callable[[], bool] = lambda: True,
) -> Result:
    """Call `attempt(failures)` until it returns or raises a permanent error.

    Only for requests that may be repeated safely, or that recognize their own earlier
    attempt.  Raises ConnectionFailed after `retries.limit` failures in a row, unless
    `patient()` is true; at once for a wrong name or port, unless the server was
    `reached()` before.
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
            # Traffic, not time: a server that accepts requests and then says nothing
            # uses up a long timeout with each of them, and must not be asked for ever.
            if error.lasted > STABLE:
                failures = 0
            failures += 1
            if failures >= retries.limit and not patient():
                raise
            logger.info("%s; trying again", error)
            retries.pause(failures)
