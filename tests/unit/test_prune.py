"""Jobs that `prune` deletes."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

from statuses import ids, job

from tej.queue.prune import jobs_to_prune


def test_only_ended_and_unneeded_jobs_are_pruned() -> None:
    jobs = [
        *(job(state[0], state) for state in ("created", "queued", "running", "lost")),
        job("x", processes_left=1),
        job("n"),
        job("m"),
        job("o", "queued", after=("n",)),
        job("p", "created", after=("m",)),
        job("k", "killed", 1),
    ]
    # A job that has started has copied what it needs.
    assert ids(jobs_to_prune([*jobs, job("s", "running", after=("k",))])) == "lk"


def test_oldest_jobs_are_pruned() -> None:
    jobs = [job("a", days=3), job("b", days=1), job("c", "killed", days=2)]
    assert ids(jobs_to_prune(jobs, keep_last=1)) == "ca"
    assert ids(jobs_to_prune(jobs, older_than=timedelta(2))) == "a"
    assert ids(jobs_to_prune(jobs, failed=True)) == "c"
    unknown = replace(jobs[0], ended=None)
    assert jobs_to_prune([unknown], older_than=timedelta(0)) == []
    assert jobs_to_prune([unknown]) == [unknown]


def test_age_is_measured_by_the_clock_of_the_server() -> None:
    # The client's clock is years ahead of the server's clock, or years behind it.
    for year in (2001, 2101):
        reported = datetime(year, 1, 3, tzinfo=timezone.utc)
        old = job("a", ended=reported - timedelta(2), reported=reported)
        new = job("b", ended=reported - timedelta(hours=1), reported=reported)
        assert ids(jobs_to_prune([old, new], older_than=timedelta(1))) == "a"
    assert jobs_to_prune([replace(old, reported=None)], older_than=timedelta(1)) == []
