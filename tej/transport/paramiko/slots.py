"""How many programs may run at once on one connection."""

from __future__ import annotations

import threading


class Slots:
    """A semaphore whose limit shrinks when the server turns out to allow fewer."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._changed = threading.Condition()

    def __enter__(self) -> Slots:
        with self._changed:
            self._take()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._used -= 1
            self._changed.notify()

    def _take(self) -> None:
        self._changed.wait_for(lambda: self._used < self._limit)
        self._used += 1

    def shrink(self) -> bool:
        """The server refused one more: wait, holding a slot, for another to end.

        False if there is no other to wait for.
        """
        with self._changed:
            if self._used <= 1:
                return False
            self._used -= 1
            self._limit = max(1, min(self._limit, self._used))
            self._take()
            return True
