"""Submission of the jobs of a batch: groups, restarts, and a lost connection."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from tej import ConnectionFailed, Error, JobSpec
from tej.queue import batch_submission
from tej.queue.batch_submission import BatchSubmission
from tej.queue.fetch_results import Pauses
from tej.queue.run_result import Run, RunResult


class Queue:
    """A queue that records each submission, and raises the given errors."""

    def __init__(self, *errors: Exception | None, was_reached: bool = True) -> None:
        self.errors = [*errors]
        self.was_reached = was_reached
        self.sent: list[tuple[str, bool]] = []
        self.refused: dict[str, Error] = {}
        self.connection = SimpleNamespace(
            retries=SimpleNamespace(delay=lambda _: 1e9), job_not_found=Error
        )

    def ensure_many(self, specs: Any, *, retry: bool) -> list[Any]:
        ids = [spec.job_id for spec in specs]
        self.sent.append((" ".join(ids), retry))
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error
        return [
            SimpleNamespace(
                job_id=one, is_new=True, status=None, error=self.refused.get(one)
            )
            for one in ids
        ]


def add(submission: BatchSubmission, queue: Any, *ids: str) -> list[RunResult]:
    """Add pending jobs to the submission."""
    found = [RunResult(Run(queue, JobSpec("d", job_id=one))) for one in ids]
    submission.pending.update(dict.fromkeys(found, False))
    return found


@pytest.fixture
def observed() -> list[int]:
    """Return the sizes of the groups before their submission."""
    return []


@pytest.fixture
def make(
    monkeypatch: pytest.MonkeyPatch, observed: list[int]
) -> Callable[..., BatchSubmission]:
    monkeypatch.setattr(batch_submission, "JOBS_PER_REQUEST", 2)

    def make_submission(restarts: tuple[str, ...] = ()) -> BatchSubmission:
        return BatchSubmission(
            Pauses(),
            lambda group: observed.append(len(group)),
            lambda one: one.job is not None and one.job.id in restarts,
        )

    return make_submission


def names(groups: list[list[RunResult]]) -> list[list[Any]]:
    return [[one.job and one.job.id for one in group] for group in groups]


def test_jobs_are_sent_in_groups_of_a_queue(
    make: Callable[..., BatchSubmission], observed: list[int]
) -> None:
    one, other = Queue(), Queue()
    submission = make()
    results = add(submission, one, "a", "b", "c")
    results[1:1] = add(submission, other, "x")
    submission.pending[results[0]] = True
    one.refused["c"] = refused = Error("no")
    groups = [*submission.submit(results, patient=True)]
    assert names(groups) == [["a"], ["x"], ["b", None]]
    assert one.sent == [("a", True), ("b c", False)]
    assert other.sent == [("x", False)]
    assert observed == [1, 1, 2]
    assert [one.error for one in results] == [None, None, None, refused]
    assert [one.is_new for one in results] == [True, True, True, False]
    assert submission.in_doubt == set()


def test_failed_jobs_are_restarted_once(make: Callable[..., BatchSubmission]) -> None:
    queue = Queue()
    submission = make(restarts=("b",))
    results = add(submission, queue, "a", "b")
    assert names([*submission.submit(results, patient=True)]) == [["a", "b"]]
    assert queue.sent == [("a b", False), ("b", True)]


def test_jobs_of_a_lost_connection_are_kept(
    make: Callable[..., BatchSubmission],
) -> None:
    cut = ConnectionFailed("cut")
    queue = Queue(cut)
    submission = make()
    results = add(submission, queue, "a", "b", "c")
    assert submission.due == 0
    groups = submission.submit(results, patient=True)
    assert next(groups) == []
    # The server may have started the jobs of the first group.
    assert submission.in_doubt == {*results[:2]}
    assert [*groups] == [[]]
    assert queue.sent == [("a b", False)]
    assert [one.error for one in results] == [None] * 3
    assert submission.pending == dict.fromkeys(results, False)
    assert submission.ready() == []
    assert submission.due is not None
    assert submission.due > 1e8
    submission._pauses = Pauses()
    assert submission.ready() == results
    assert names([*submission.submit(results, patient=True)]) == [["a", "b"], ["c"]]
    assert submission.in_doubt == set()


@pytest.mark.parametrize(
    ("patient", "was_reached", "error"),
    [
        (False, True, ConnectionFailed("cut")),
        (True, False, ConnectionFailed("cut")),
        (True, True, Error("refused")),
    ],
)
def test_error_that_remains_is_the_result(
    patient: bool,
    was_reached: bool,
    error: Error,
    make: Callable[..., BatchSubmission],
) -> None:
    queue = Queue(error, was_reached=was_reached)
    submission = make()
    results = add(submission, queue, "a", "b", "c")
    groups = [*submission.submit(results, patient=patient)]
    assert groups == [results[:2], results[2:]]
    assert [one.error for one in results] == [error] * 3
    assert len(queue.sent) == 1
    assert submission.in_doubt == set()


def test_unrestarted_job_has_the_error_of_the_restart(
    make: Callable[..., BatchSubmission],
) -> None:
    cut = Error("cut")
    queue = Queue(None, cut)
    submission = make(restarts=("b",))
    found, failed = add(submission, queue, "a", "b")
    groups = [*submission.submit([found, failed], patient=True)]
    assert names(groups) == [["a", None]]
    assert (found.error, failed.error) == (None, cut)


def test_directory_exists_during_the_submission(
    make: Callable[..., BatchSubmission],
) -> None:
    queue: Any = Queue()
    events: list[str] = []

    @contextlib.contextmanager
    def directory() -> Iterator[JobSpec]:
        yield JobSpec("d", job_id="a")
        events.append(f"left after {len(queue.sent)}")

    def fail() -> Any:
        raise ValueError("wrong")

    submission = make()
    results = [RunResult(Run(queue, one)) for one in (directory, fail)]
    submission.pending.update(dict.fromkeys(results, False))
    assert names([*submission.submit(results, patient=True)]) == [["a", None]]
    assert events == ["left after 1"]
    assert isinstance(results[1].error, ValueError)
