"""Requests of a forked child, which its parent sends; without processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from multiprocessing import Pipe
from types import SimpleNamespace
from typing import Any

import pytest

from tej.queue.fork_relay import _wait


def test_wait_ends_with_the_child_that_requested_it() -> None:
    here, child = Pipe()

    def ends(
        ids: list[str], deadline: float | None, on_tick: Callable[[], None]
    ) -> Iterator[tuple[str, None]]:
        on_tick()
        yield ids[0], None
        child.close()
        on_tick()

    queue: Any = SimpleNamespace(watcher=SimpleNamespace(ends=ends))
    with here, pytest.raises(EOFError):
        _wait(here, queue, ["a", "b"], None)
