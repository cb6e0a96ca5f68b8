"""Batches: their ticks, and what remains when the time is over."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from statuses import job

import tej
from tej.queue import as_completed
from tej.queue import batch as batch_module
from tej.queue.batch import Batch
from tej.queue.job import Job


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


class Queue:
    """A queue that records its requests; the test gives the replies."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.error: Exception | None = None
        self.states: dict[str, Any] = {}
        self.connection = None

    def job(self, job_id: str) -> Any:
        return Job(self, job_id)  # type: ignore[type-var]

    def kill_many(self, ids: list[str]) -> None:
        self.calls.append(("kill", *ids))
        if self.error is not None:
            raise self.error

    def statuses(self, ids: list[str]) -> dict[str, Any]:
        return {one: self.states.get(one) for one in ids}


@pytest.fixture
def failures(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Record, for each failed job, whether its stderr is requested."""
    asked: list[bool] = []

    def failure(
        _: object, status: tej.JobStatus, *, with_stderr: bool
    ) -> tej.JobFailed:
        asked.append(with_stderr)
        return tej.JobFailed(status.job_id)

    monkeypatch.setattr(batch_module, "job_failure", failure)
    return asked


def batch_of(queue: Any, *ids: str, **facts: Any) -> tuple[Any, list[Any], list[str]]:
    """Return a batch of submitted runs, its results, and the calls of its observers."""
    calls: list[str] = []

    def observer(name: str) -> Any:
        return lambda some: calls.append(
            f"{name} {''.join(one.run.key for one in some)}"
        )

    runs = [tej.Run(queue, None, key=one, **facts) for one in ids]  # type: ignore[arg-type]
    observers = {f"on_{name}": observer(name) for name in ("start", "end", "fetch")}
    made: Any = Batch(runs, **observers)
    made._submission.pending = dict.fromkeys(made.results, False)
    return made, made.results, calls


def test_submitted_jobs_are_sorted_by_their_states(failures: list[bool]) -> None:
    queue: Any = Queue()
    again: list[str] = []
    made, results, calls = batch_of(
        queue,
        *"rsdfxeg",
        retry=lambda end: again.append(end.job_id) or end.job_id == "g",
    )
    runs, same, done, failed, refused, late, restarted = results
    for result, end in (
        (runs, None),
        (same, None),
        (done, job("d")),
        (failed, job("f", exit_code=1)),
        (late, job("e", "running")),
        (restarted, job("g", "lost")),
    ):
        result.job = queue.job("r" if result is same else result.run.key)
        result.status = end
    refused.error = tej.Error("no")
    made._started([])
    assert calls == []
    made._started(results)
    assert {
        one.id: [*map(results.index, same)] for one, same in made.pending.items()
    } == {
        "r": [0, 1],
        "e": [5],
    }
    assert made._submission.pending == {restarted: True}
    assert made._fetcher.pending == [done]
    assert calls == ["start rsdfxeg", "end d", "end f", "fetch f", "end x", "fetch x"]
    assert again == ["f", "g"]
    assert isinstance(failed.error, tej.JobFailed)
    assert [one.error for one in (runs, same, done, late, restarted)] == [None] * 5
    assert queue.calls == []
    assert made.count_states() == {"done": 1, "failed": 2}
    queue.states = {"r": job("r", "running")}
    assert made.count_states() == {"done": 1, "failed": 2, "running": 1}
    # Another thread has called `kill` while jobs were submitted.
    made._kill_requested = True
    made._started([])
    assert queue.calls == []
    made._submission.pending[late] = False
    made._started([late])
    assert queue.calls == [("kill", "r", "e")]


@pytest.mark.parametrize("kills", [False, True])
def test_ended_jobs_are_restarted_failed_or_fetched(
    failures: list[bool], kills: bool
) -> None:
    queue: Any = Queue()
    made, results, calls = batch_of(
        queue, *"abcd", retry=lambda end: end.attempt == 1 and end.job_id == "a"
    )
    made._submission.pending.clear()
    made.pending = {queue.job(one.run.key): [one] for one in results}
    for one in results:
        one.job = queue.job(one.run.key)
    made.pending[queue.job("b")].append(results[3])
    del made.pending[queue.job("d")]
    made._kill_requested = kills
    failed, done, gone, same = results
    done.error, same.error = tej.WaitTimeout("late"), tej.Error("own")
    made._ended(queue.job("a"), job("a", exit_code=1))
    if kills:
        assert (made._submission.pending, failures) == ({}, [True])
        assert calls == ["end a", "fetch a"]
    else:
        assert (made._submission.pending, failures) == ({failed: True}, [])
        assert failed.error is None
        made.pending[queue.job("a")] = [failed]
        made._ended(queue.job("a"), job("a", exit_code=1, attempt=2))
        assert isinstance(failed.error, tej.JobFailed)
    calls.clear()
    made._ended(queue.job("b"), job("b"))
    assert done.error is None
    assert str(same.error) == "own"
    assert (made._fetcher.pending, calls) == ([done, same], ["end bd"])
    calls.clear()
    made._ended(queue.job("c"), None)
    assert isinstance(gone.error, tej.JobNotFound)
    assert calls == ["end c", "fetch c"]
    assert made.pending == {}
    lost = tej.ConnectionFailed("cut")
    made.pending = {queue.job("c"): [gone]}
    made._ended(queue.job("c"), lost)
    assert gone.error is lost


def test_stderr_of_five_failures_is_requested(failures: list[bool]) -> None:
    queue: Any = Queue()
    made, results, _ = batch_of(queue, *"abcdefg", fetch_failed=True)
    for one in results:
        one.job = queue.job(one.run.key)
        made._record_failure([one], job(one.run.key, "lost"))
        made._finish([one], job(one.run.key, "lost"))
    made._record_failure(results, job("x"))
    assert failures == [True] * 5 + [False] * 2
    assert made._fetcher.pending == results


def test_kill_continues_after_an_error() -> None:
    broken, good = Queue(), Queue()
    broken.error = tej.ConnectionFailed("cut")
    made, results, _ = batch_of(broken, "a", "b")
    made.pending = {broken.job("a"): [results[0]], broken.job("b"): [results[1]]}
    made.pending[good.job("c")] = []
    with pytest.raises(tej.ConnectionFailed):
        made.kill()
    assert broken.calls == [("kill", "a", "b")]
    assert good.calls == [("kill", "c")]
    assert made._kill_requested
    broken.error = None
    made.kill()


def test_killed_batch_names_jobs_that_were_not_started(failures: list[bool]) -> None:
    queue: Any = Queue()
    made, results, calls = batch_of(queue, *"abcd")
    unsent, doubtful, failed, same = results
    made._submission.in_doubt = {doubtful}
    failed.status = same.status = job("f", "lost")
    made._finish_without_submission()
    assert "was not started, because" in str(unsent.error)
    assert "unknown whether the job was started" in str(doubtful.error)
    assert isinstance(failed.error, tej.JobFailed)
    assert isinstance(same.error, tej.JobFailed)
    assert failed.job == queue.job("f")
    assert failures == [True]
    assert made._submission.pending == {}
    assert calls == ["end a", "fetch a", "end b", "fetch b", "end cd", "fetch cd"]


def test_batch_waits_between_two_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, steps = [0.0], []

    def sleep(seconds: float) -> None:
        clock[0] += seconds
        steps.append("sleep")

    time = SimpleNamespace(monotonic=lambda: clock[0], sleep=sleep)
    monkeypatch.setattr(batch_module, "time", time)
    made: Any = Batch([])
    made._fetcher = SimpleNamespace(pending=["x"], fetch=lambda: steps.append("fetch"))
    gave_up: list[float] = []
    made._give_up = gave_up.append
    made.wait(2.5)
    assert gave_up == [2.5]
    assert steps == ["fetch", "fetch", "sleep"] * 3 + ["fetch", "fetch"]
    made._fetcher.pending = []
    del steps[:]
    assert made.wait() == []
    assert steps == []
