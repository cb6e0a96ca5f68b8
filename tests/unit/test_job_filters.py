"""Filters and sort orders of job lists."""

from datetime import timedelta
from pathlib import PurePosixPath

import pytest
from statuses import NOW, ids, job

from tej import JobState, JobStatus
from tej.queue.job_filters import ORDERS, select, sort_jobs

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


def test_jobs_must_match_all_filters() -> None:
    jobs = [
        job("a", labels={"x": "1"}, parameters={"p": "1"}, submitted=NOW),
        job("b", "killed", labels={"x": "1", "y": "2"}, parameters={"p": "2"}),
        job("c", "running", parameters={"q": "1"}),
        job("d", exit_code=1, submitted=NOW - timedelta(1)),
    ]
    assert ids(select(jobs)) == "abcd"
    assert ids(select(jobs, states=["running"], failed=True)) == "bcd"
    assert ids(select(jobs, labels={"x": "1"})) == "ab"
    assert ids(select(jobs, labels={"x": "1", "y": "2"})) == "b"
    assert ids(select(jobs, parameters={"p": None})) == "ab"
    assert ids(select(jobs, parameters={"p": ["2", "3"]})) == "b"
    assert ids(select(jobs, parameters={"p": None, "q": None})) == ""
    assert ids(select(jobs, since=NOW)) == "a"
    assert ids(select(jobs, failed=True, since=NOW - timedelta(2))) == "d"
    # An age is measured by the clock of the server, which is NOW in these statuses.
    assert ids(select(jobs, since=timedelta(hours=23))) == "a"
    assert ids(select(jobs, since=timedelta(days=1))) == "ad"
