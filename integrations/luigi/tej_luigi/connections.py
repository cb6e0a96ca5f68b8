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
"""Attempts to reach a server that has never answered; each makes several logins."""
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
        """Empty the status cache."""
        self.statuses = StatusCache(
            self.queue,
            self.address.key,
            TejConfig().fresh,
            on_answer=lambda: _reached.add(self.address.key),
        )


_open: dict[tuple[str, str], OpenQueue] = {}
_lock = threading.Lock()
_reached: set[tuple[str, str]] = set()
"""Queues whose servers have answered this process or its parent."""


def open_queue(address: QueueAddress) -> OpenQueue:
    """The queue at that address; it connects on first use."""
    tej.share_with_children()
    with _lock:
        if address.key not in _open:
            _open[address.key] = OpenQueue(address)
        return _open[address.key]


def close_queues() -> None:
    """Close all connections, and empty the caches."""
    with _lock:
        _open.clear()
        tej.close_shared_queues()


def _after_fork_in_child() -> None:
    # Another thread of the parent may hold the lock.  The parent's statuses may be
    # outdated when the child uses them.
    global _lock
    _lock = threading.Lock()
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def is_temporary(error: Exception) -> bool:
    """Whether an error may disappear when the server can be reached again."""
    return isinstance(error, ConnectionFailed) and not isinstance(
        error, AuthenticationFailed | HostKeyRejected
    )


def with_patience(
    opened: OpenQueue,
    attempt: Callable[[], Result],
    tell: Callable[[str], object] = lambda text: None,
) -> Result:
    """Repeat `attempt` while the server cannot be reached.

    A server that has never answered gets only `FEW` attempts, since its name may be
    wrong.  A refused login is raised at once.  `tell` is called with a message for the
    user before each pause.
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
