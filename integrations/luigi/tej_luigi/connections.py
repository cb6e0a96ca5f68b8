"""Open queues of this process, each with one connection and one status cache."""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import tej
from tej import AuthenticationFailed, ConnectionFailed, HostKeyRejected
from tej_luigi.config import QueueAddress, TejConfig
from tej_luigi.job_status import StatusCache, is_asking

logger = logging.getLogger("luigi-interface")

Result = TypeVar("Result")

FEW = 3
"""Number of attempts to reach a server that has never replied.

Each attempt makes several logins.
"""
LONGEST_PAUSE = 30.0
"""Maximum pause in seconds between two attempts to reach a server."""


class OpenQueue:
    """A queue with a cache of the statuses of its jobs."""

    def __init__(self, address: QueueAddress) -> None:
        self.address = address
        self.queue = tej.shared_queue(
            address.destination,
            address.queue,
            setup_runtime=address.runtime,
            accept_new_host_key=TejConfig().accept_new_host_key,
        )
        self.forget()

    def forget(self) -> None:
        """Remove all statuses from the cache."""
        self.statuses = StatusCache(
            self.queue,
            self.address.key,
            TejConfig().fresh,
            on_answer=lambda: _reached.add(self.address.key),
        )


_open: dict[tuple[str, str], OpenQueue] = {}
_lock = threading.Lock()
_reached: set[tuple[str, str]] = set()
"""Queues whose servers have replied to this process or to its parent process."""


def open_queue(address: QueueAddress) -> OpenQueue:
    """Return the open queue at `address`.

    The connection is made when the queue is first used.
    """
    tej.share_with_children()
    with _lock:
        if address.key not in _open:
            _open[address.key] = OpenQueue(address)
        return _open[address.key]


def close_queues() -> None:
    """Close all connections, and remove all cached statuses."""
    with _lock:
        _open.clear()
        tej.close_shared_queues()


def _after_fork_in_child() -> None:
    # The lock is replaced because a thread of the parent process may have locked the
    # old lock.  The queues are removed because their cached statuses may be outdated.
    global _lock
    _lock = threading.Lock()
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def is_temporary(error: Exception) -> bool:
    """Return whether the error is a lost connection that may be restored later."""
    return isinstance(error, ConnectionFailed) and not isinstance(
        error, AuthenticationFailed | HostKeyRejected
    )


def with_patience(
    opened: OpenQueue,
    attempt: Callable[[], Result],
    tell: Callable[[str], object] = lambda text: None,
) -> Result:
    """Call `attempt` until the server can be reached, and return its result.

    If the server has never replied, only `FEW` attempts are made, because the name of
    the server may be wrong.  If the login is refused, or if Luigi calls `complete()`,
    the error is raised at once.  Before each pause, `tell` is called with a message for
    the user.
    """
    tries = 0
    while True:
        try:
            result = attempt()
        except (AuthenticationFailed, HostKeyRejected):
            raise
        except ConnectionFailed as error:
            tries += 1
            if is_asking() or (tries >= FEW and opened.address.key not in _reached):
                raise
            logger.warning("%s; trying again, the jobs are not affected", error)
            tell(f"No connection, trying again: {error}")
            seconds = min(LONGEST_PAUSE, 2.0**tries)
            time.sleep(seconds * random.uniform(0.5, 1))
        else:
            _reached.add(opened.address.key)
            return result
