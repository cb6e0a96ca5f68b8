"""Pauses between the requests that fetch results."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

import tej
from tej.queue import fetch_results, retry_policy


def make_result(queue: Any, job_id: str, results: Any = ("x",), **facts: Any) -> Any:
    run = SimpleNamespace(queue=queue, results=results, directory=".")
    job = SimpleNamespace(id=job_id)
    facts = {"error": None, "status": job_id, "files": []} | facts
    return type("Result", (), {"run": run, "job": job} | facts)()


class Queue:
    """A queue that raises some errors before a download succeeds."""

    was_reached = False

    def __init__(self, *errors: Exception) -> None:
        self.errors = [*errors]
        self.wanted: list[dict[str, list[str]]] = []
        delay = {1: 0.5, 2: 1.0, 3: 2.0}
        self.connection = SimpleNamespace(
            retries=SimpleNamespace(delay=delay.__getitem__)
        )

    def download_many(self, wanted: Any, directory: Any) -> dict[str, Any]:
        self.wanted.append({one: [*files] for one, files in wanted.items()})
        if self.errors:
            raise self.errors.pop(0)
        return {one: SimpleNamespace(files=[one], error=None) for one in wanted}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the current time, in a list that a sleep advances."""
    now = [0.0]

    def sleep(seconds: float) -> None:
        assert seconds == 1
        now[0] += seconds

    time = SimpleNamespace(monotonic=lambda: now[0], sleep=sleep)
    monkeypatch.setattr(fetch_results, "time", time)
    return now


def test_lost_connection_delays_only_its_queue(clock: list[float]) -> None:
    """The pauses grow, and no processor time is spent meanwhile."""
    lost = tej.ConnectionFailed("cut")
    broken, good = Queue(lost, lost), Queue()
    first, second = make_result(broken, "a"), make_result(broken, "b")
    other, calls = make_result(good, "c"), []
    fetch_results.fetch_results(
        [first, second, other],
        lambda some: calls.append((clock[0], [one.job.id for one in some])),
    )
    assert calls == [(0, ["c"]), (3, ["a", "b"])]
    assert broken.wanted == [{"a": ["x"], "b": ["x"]}] * 3
    assert first.files == ["a"]
    assert [one.error for one in (first, second, other)] == [None] * 3


def test_success_resets_the_pause(clock: list[float]) -> None:
    lost = tej.ConnectionFailed("cut")
    queue: Any = Queue()
    pauses = fetch_results.Pauses()
    for _ in range(2):
        pauses.start(queue, lost)
    assert (pauses.end(queue), pauses.is_over(queue)) == (2, False)
    clock[0] = 2
    assert pauses.is_over(queue)
    pauses.reset(queue)
    pauses.start(queue, lost)
    assert pauses.end(queue) == 3


def test_refused_login_is_repeated_if_a_login_had_succeeded(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry_policy, "time", fetch_results.time)
    monkeypatch.setattr("random.uniform", lambda low, high: high)
    refused = tej.AuthenticationFailed("no home directory")
    refused.sent_secret = False
    for failures, left in ((3, 0), (20, 8)):
        queue = Queue(*[refused] * failures)
        queue.was_reached, queue.connection.retries = True, tej.Retries()
        result = make_result(queue, "a")
        begun = clock[0]
        fetch_results.fetch_results([result], lambda _: None)
        assert len(queue.errors) == left
        assert result.error is (refused if left else None)
    assert clock[0] - begun == 600


@pytest.mark.parametrize(
    ("error", "is_temporary"),
    [
        (tej.ConnectionFailed("cut"), True),
        (tej.AuthenticationFailed("no"), False),
        (tej.HostKeyRejected("no"), False),
        (tej.Error("no"), False),
    ],
)
def test_only_a_lost_connection_is_temporary(
    clock: list[float], error: tej.Error, is_temporary: bool
) -> None:
    assert fetch_results.is_temporary(error) is is_temporary
    queue = Queue(error)
    new, failed = make_result(queue, "a"), make_result(queue, "b")
    failed.error = earlier = tej.JobFailed("exit code 1")
    fetch_results.fetch_results([new, failed], lambda _: None)
    assert new.error is (None if is_temporary else error)
    assert failed.error is earlier


def test_function_chooses_the_files_of_each_job(clock: list[float]) -> None:
    def fail(_: object) -> list[str]:
        raise ValueError("wrong")

    queue, over = Queue(), []
    some = [
        make_result(queue, "a", lambda status: [f"{status}.csv"]),
        make_result(queue, "b", fail),
        make_result(queue, "c", ()),
    ]
    fetch_results.fetch_results(some, over.extend)
    assert queue.wanted == [{"a": ["a.csv"]}]
    assert isinstance(some[1].error, ValueError)
    assert {*over} == {*some}
