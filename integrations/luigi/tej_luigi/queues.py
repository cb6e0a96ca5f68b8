"""The queues in use: one connection for each, whatever number of tasks.

A process forked off begins without answers of its parent's; the core sees to it that
it does not use its connections either.
"""

from __future__ import annotations

import os
import threading

from tej.errors import InvalidDestination
from tej.queue import RemoteQueue
from tej_luigi.config import Place, find_place, tej
from tej_luigi.statuses import Statuses


class OpenQueue:
    """A queue, and what is known of its jobs."""

    def __init__(self, queue: RemoteQueue, place: Place) -> None:
        self.queue = queue
        self.place = place
        self._fresh: float = tej().fresh
        self.forget()

    def forget(self) -> None:
        """What was answered so far: the next question is asked of the server."""
        self.statuses = Statuses(self.queue, self.place.key, self._fresh)


_open: dict[tuple[str, str], OpenQueue] = {}
_lock = threading.Lock()


def open_queue(place: Place) -> OpenQueue:
    """The one for that place; connects on first use."""
    with _lock:
        found = _open.get(place.key)
        # One that was found again by its name lacks the password.
        if found is None or found.place.is_bare:
            found = _open[place.key] = _make(place)
        return found


def find_queue(destination: str, queue: str) -> OpenQueue:
    """The one whose place is shown so: as it was opened here, or as configured."""
    bare = Place(destination, queue, is_bare=True)
    with _lock:
        found = _open.get(bare.key)
        if found is None:
            found = _open[bare.key] = _make(_configured(bare) or bare)
        return found


def _configured(bare: Place) -> Place | None:
    try:
        place = find_place(queue=bare.queue)
    except InvalidDestination:
        return None
    return place if place.key == bare.key else None


def _make(place: Place) -> OpenQueue:
    queue = RemoteQueue(
        place.destination,
        place.queue,
        place.runtime,
        accept_new_host_key=tej().accept_new_host_key,
    )
    return OpenQueue(queue, place)


def close_queues() -> None:
    """Let go of all connections, and forget what was answered."""
    with _lock:
        for one in _open.values():
            one.queue.close()
        _open.clear()


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()
    for one in _open.values():
        one.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
