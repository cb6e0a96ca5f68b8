"""Jobs of a plan that must be submitted, and jobs that other jobs still need.

A job that has succeeded is not submitted again, because its results cannot be outdated:
if the inputs of a job change, the id of the job changes as well.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import tej
from tej_vistrails.pipeline.plan import Plan

Statuses = Mapping[str, tej.JobStatus | None]


def jobs_in_use(plan: Plan, statuses: Statuses) -> set[str]:
    """Return the ids of the jobs that are needed for results that do not exist yet.

    The jobs in `Plan.wanted` are always in use.  A job that has succeeded no longer
    needs the jobs upstream of it.
    """

    def needs(job_id: str) -> Collection[str]:
        status = statuses.get(job_id)
        is_done = status is not None and status.succeeded
        return () if is_done else plan.jobs[job_id].needs

    return _reach(plan.wanted, needs)


def jobs_to_submit(plan: Plan, statuses: Statuses, *, retry: bool) -> set[str]:
    """Return the ids of the jobs that have to be started.

    A job has to be started if it is needed for the results and does not exist in the
    queue.  If `retry` is true, the needed jobs that have ended without success are
    included.
    """

    def is_needed(job_id: str) -> bool:
        status = statuses.get(job_id)
        if status is None:
            return True
        return retry and status.state.final and not status.succeeded

    def needs(job_id: str) -> Collection[str]:
        return plan.jobs[job_id].needs if is_needed(job_id) else ()

    return {one for one in _reach(plan.wanted, needs) if is_needed(one)}


def _reach(start: Collection[str], needs: Callable[[str], Collection[str]]) -> set[str]:
    found: set[str] = set()
    pending = [*start]
    while pending:
        job_id = pending.pop()
        if job_id not in found:
            found.add(job_id)
            pending.extend(needs(job_id))
    return found
