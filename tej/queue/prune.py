"""Prune: delete ended jobs by age, state and labels, except the most recent jobs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta

from tej.job.status import JobState, JobStatus
from tej.queue.connection import QueueConnection
from tej.queue.delete_request import delete_unchanged
from tej.queue.job_filters import ORDERS, select
from tej.queue.status_requests import get_jobs


def prune(
    connection: QueueConnection,
    *,
    older_than: timedelta | None,
    keep_last: int,
    failed: bool,
    states: Collection[str],
    labels: Mapping[str, str] | None,
    dry_run: bool,
) -> list[JobStatus]:
    """Delete old jobs; see `RemoteQueue.prune`."""
    chosen = jobs_to_prune(
        get_jobs(connection),
        older_than=older_than,
        keep_last=keep_last,
        failed=failed,
        states=states,
        labels=labels,
    )
    return chosen if dry_run else delete_unchanged(connection, chosen)


def jobs_to_prune(
    jobs: Iterable[JobStatus],
    *,
    older_than: timedelta | None = None,
    keep_last: int = 0,
    failed: bool = False,
    states: Collection[str] = (),
    labels: Mapping[str, str] | None = None,
) -> list[JobStatus]:
    """Return the jobs that `prune` deletes; see `RemoteQueue.prune`.

    A job that has not ended, or has left processes running, is never returned.  A job
    that a pending job needs is not returned, either.
    """
    jobs = [*jobs]
    pending = (job for job in jobs if job.state in (JobState.CREATED, JobState.QUEUED))
    needed = {job_id for job in pending for job_id in job.after}
    ended = [
        job
        for job in select(jobs, states=states, failed=failed, labels=labels)
        if job.state.final and not job.processes_left and job.job_id not in needed
    ]
    ended.sort(key=ORDERS["ended"], reverse=True)
    return [
        job
        for job in ended[keep_last:]
        if older_than is None or has_ended_before(job, older_than)
    ]


def has_ended_before(job: JobStatus, age: timedelta) -> bool:
    """Return whether the job ended longer ago than `age`, by the server's clock.

    The clock of the client may be wrong by days.  Returns False if a time is unknown.
    """
    return (
        job.ended is not None
        and job.reported is not None
        and job.reported - job.ended > age
    )
