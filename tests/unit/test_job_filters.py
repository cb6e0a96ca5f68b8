"""Sort orders of job lists."""

from pathlib import PurePosixPath

import pytest

from tej import JobState, JobStatus
from tej.queue.job_filters import ORDERS, sort_jobs

JOBS = [
    JobStatus("b", JobState.RUNNING, PurePosixPath("/b"), name="x"),
    JobStatus("a", JobState.FINISHED, PurePosixPath("/a"), name="y"),
]


@pytest.mark.parametrize("order", ORDERS)
def test_every_order_sorts_incomplete_jobs(order: str) -> None:
    assert {job.job_id for job in sort_jobs(JOBS, order)} == {"a", "b"}


def test_jobs_are_sorted_by_name() -> None:
    assert [job.name for job in sort_jobs(JOBS[::-1], "name")] == ["x", "y"]


def test_unknown_order_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="use one of id, submitted"):
        sort_jobs(JOBS, "size")
