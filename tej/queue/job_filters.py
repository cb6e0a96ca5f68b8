"""Filters and sort orders of job lists."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from tej.job.status import JobState, JobStatus

_LONG_AGO = datetime.min.replace(tzinfo=timezone.utc)


ORDERS: Mapping[str, Callable[[JobStatus], Any]] = {
    "id": lambda job: job.job_id,
    "submitted": lambda job: job.submitted or _LONG_AGO,
    "started": lambda job: job.started or _LONG_AGO,
    "ended": lambda job: job.ended or _LONG_AGO,
    "duration": lambda job: job.duration or 0.0,
    "state": lambda job: (list(JobState).index(job.state), job.job_id),
    "name": lambda job: (job.name, job.job_id),
}
"""The sort key function of each sort order, by the name of the order."""


def sort_jobs(jobs: Iterable[JobStatus], order: str) -> list[JobStatus]:
    """Return the jobs, sorted by `order`; raise ValueError for an unknown order."""
    if order not in ORDERS:
        raise ValueError(f"Cannot sort by {order!r}; use one of {', '.join(ORDERS)}")
    return sorted(jobs, key=ORDERS[order])


def select(
    jobs: Iterable[JobStatus],
    *,
    states: Collection[str] = (),
    failed: bool = False,
    labels: Mapping[str, str] | None = None,
    parameters: Mapping[str, Collection[str] | None] | None = None,
    since: datetime | timedelta | None = None,
) -> list[JobStatus]:
    """Return the jobs that match all filters.

    The filters are documented in `RemoteQueue.jobs`.  `parameters` maps the name of a
    parameter to the accepted values, or to None if any value is accepted.
    """
    wanted = (labels or {}).items()
    return [
        job
        for job in jobs
        if (not (states or failed) or _has_state(job, states, failed))
        and all(job.labels.get(key) == value for key, value in wanted)
        and _has_parameters(job, parameters or {})
        and (since is None or _was_submitted_since(job, since))
    ]


def _has_state(job: JobStatus, states: Collection[str], failed: bool) -> bool:
    return job.state.value in states or (failed and job.failed)


def _was_submitted_since(job: JobStatus, since: datetime | timedelta) -> bool:
    if job.submitted is None:
        return False
    if isinstance(since, datetime):
        return job.submitted >= since
    # Use only times of the server's clock: the client's clock may be wrong by days.
    return job.reported is not None and job.reported - job.submitted <= since


def _has_parameters(
    job: JobStatus, wanted: Mapping[str, Collection[str] | None]
) -> bool:
    for name, values in wanted.items():
        if name not in job.parameters:
            return False
        if values is not None and job.parameters[name] not in values:
            return False
    return True
