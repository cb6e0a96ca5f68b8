"""Ends of jobs in several queues, which threads wait for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from statuses import job

import tej
from tej.queue.as_completed import ends_of


def queue_with(ends: Any, name: str = "") -> Any:
    """Return a queue whose watcher yields `ends`, and then raises the last one."""

    def watch(ids: list[str], deadline: object, tick: Any) -> Iterator[Any]:
        for one in ends:
            if isinstance(one, Exception):
                raise one
            if callable(one):
                one(tick)
            else:
                yield one, job(one)

    found: dict[str, Any] = {"watcher": SimpleNamespace(ends=watch)}
    found["destination_string"] = name
    return type("Queue", (), found)()


def test_error_ends_only_the_wait_for_its_queue() -> None:
    lost = tej.ConnectionFailed("cut")
    broken, good = queue_with(["a", lost]), queue_with(["d"])
    found = {
        job_id: end
        for _, job_id, end in ends_of({broken: ["a", "b", "c"], good: ["d"]}, None)
    }
    assert found == {"a": job("a"), "b": lost, "c": lost, "d": job("d")}
    assert [one[1:] for one in ends_of({broken: ["a", "b"], good: []}, None)] == [
        ("a", job("a")),
        ("b", lost),
    ]


def test_error_of_a_tick_ends_the_wait() -> None:
    def fail() -> None:
        raise ValueError("enough")

    one, other = queue_with([lambda tick: tick()]), queue_with([])
    with pytest.raises(ValueError, match="enough"):
        list(ends_of({one: ["a"]}, None, fail))
    with pytest.raises(ValueError, match="enough"):
        list(ends_of({one: ["a"], other: ["b"]}, None, fail))
    assert list(ends_of({one: ["a"]}, None)) == []


def test_closed_iterator_ends_its_threads() -> None:
    closed, ended = threading.Event(), threading.Event()

    def wait(tick: Any) -> None:
        closed.wait(30)
        try:
            tick()
        finally:
            ended.set()

    ends = ends_of({queue_with(["a"]): ["a"], queue_with([wait]): ["b"]}, None)
    assert next(ends)[1] == "a"
    ends.close()
    closed.set()
    assert ended.wait(30)
