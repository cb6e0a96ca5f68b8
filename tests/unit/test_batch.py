"""Batches: their ticks, and what remains when the time is over."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from statuses import job

import tej
from tej.queue import as_completed
from tej.queue.batch import Batch


class Result:
    error: Exception | None = None

    def __init__(self, job_id: str = "") -> None:
        self.job = SimpleNamespace(id=job_id) if job_id else None


def test_unfinished_runs_are_reported_after_the_timeout() -> None:
    runs, waits, fetches, failed = Result("r"), Result(), Result("f"), Result("x")
    failed.error = tej.Error("bad")
    calls: list[tuple[str, list[Result]]] = []
    batch: Any = Batch.__new__(Batch)
    batch.results = [runs, waits, fetches, failed]
    batch._submission = SimpleNamespace(pending=[])
    batch._on_end = lambda some: calls.append(("end", [*some]))
    batch._on_fetch = lambda some: calls.append(("fetch", [*some]))
    batch.pending, batch._fetcher = {}, SimpleNamespace(pending=[])
    batch._give_up(2)
    assert calls == []
    batch._fetcher.pending = [fetches, failed]
    batch._give_up(2)
    assert calls == [("fetch", [fetches, failed])]
    assert "could not be fetched in time" in str(fetches.error)
    assert str(failed.error) == "bad"
    assert batch._fetcher.pending == []
    calls.clear()
    batch.pending, batch._submission.pending = {"r": [runs]}, [waits]
    batch._give_up(2)
    assert calls == [("end", [runs, waits]), ("fetch", [runs, waits])]
    assert isinstance(runs.error, tej.WaitTimeout)
    assert "1 of 4 jobs have not ended (r)" in str(runs.error)
    assert "not confirmed within 2 seconds" in str(waits.error)


def test_results_are_fetched_at_each_tick() -> None:
    calls: list[str] = []
    batch: Any = Batch.__new__(Batch)
    batch._fetcher = SimpleNamespace(fetch=lambda: calls.append("fetch"))
    for batch._on_tick in (None, lambda: calls.append("tick")):
        batch._tick()
    assert calls == ["fetch", "tick", "fetch"]


def test_end_just_before_the_timeout_is_yielded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queue: Any = type("Queue", (), {"connection": None})()
    jobs: Any = {one: SimpleNamespace(id=one) for one in ("ends", "runs")}
    last = {"ends": job("ends"), "runs": job("runs", "running")}
    monkeypatch.setattr(as_completed, "ends_of", lambda *_: iter(()))
    monkeypatch.setattr(as_completed, "get_statuses", lambda *_: last)
    ends = as_completed._checked({queue: jobs}, 1, None)
    assert next(ends)[1] == last["ends"]
    with pytest.raises(tej.WaitTimeout, match=r"1 of 2 jobs have not ended \(runs\)"):
        next(ends)
