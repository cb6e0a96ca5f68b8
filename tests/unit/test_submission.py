"""Batches of a submission: limits, repeated ids, and jobs that cannot be sent."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from tej.queue.submission import BATCH_BYTES, BATCH_JOBS, Outcome, _batches


def batches(
    *jobs: tuple[str, int] | Outcome, key: Callable[[Any], object] | None = None
) -> list[Any]:
    """Return the ids of each batch, for jobs given by their ids and sizes."""
    given: list[Any] = [
        one if isinstance(one, Outcome) else SimpleNamespace(job_id=one[0], size=one[1])
        for one in jobs
    ]
    return [
        one if isinstance(one, Outcome) else [job.job_id for job in one]
        for one in _batches(given, id if key is None else key)
    ]


def test_batches_have_a_maximum_number_of_jobs() -> None:
    ids = [f"job{number}" for number in range(BATCH_JOBS + 1)]
    assert batches(*((one, 1) for one in ids)) == [ids[:-1], ids[-1:]]


def test_batches_have_a_maximum_size() -> None:
    half = BATCH_BYTES // 2
    assert batches(("a", half), ("b", half), ("c", 1)) == [["a", "b"], ["c"]]
    assert batches(("a", 2 * BATCH_BYTES), ("b", 1)) == [["a"], ["b"]]


def test_repeated_id_begins_another_batch() -> None:
    jobs = ("a", 1), ("b", 1), ("a", 1)
    assert batches(*jobs) == [["a", "b"], ["a"]]
    assert batches(*jobs, key=lambda job: job.job_id) == [["a", "b", "a"]]


def test_refused_job_keeps_its_place() -> None:
    refused = Outcome("b")
    assert batches(refused, ("a", 1), refused, ("c", 1)) == [
        *(refused, ["a"], refused, ["c"])
    ]
