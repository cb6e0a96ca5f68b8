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
"""Seconds after which an attempt counts as a working connection that was lost later."""


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
    answers: Callable[[], int] = lambda: 0,
) -> Result:
    """Call `attempt(failures)` until it returns or raises a permanent error.

    Only for requests that may be repeated safely, or that recognize their own earlier
    attempt.  Raises ConnectionFailed after `retries.limit` failures in a row, unless
    `patient()` is true.  `answers()` counts the answers that the server has begun: an
    attempt without one is a failure in a row, however long it took.
    """
    failures = 0
    while True:
        begun, before = time.monotonic(), answers()
        try:
            return attempt(failures)
        except (AuthenticationFailed, HostKeyRejected):
            raise
        except ConnectionFailed as error:
            if error.permanent and not (answers() or patient()):
                raise
            if time.monotonic() - begun > STABLE and answers() > before:
                failures = 0
            failures += 1
            if failures >= retries.limit and not patient():
                raise
            logger.info("%s; trying again", error)
            retries.pause(failures)
