"""States of the jobs of a plan, and the jobs to start, computed without requests."""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import tej
from tej_vistrails.pipeline.plan import Plan, PlannedJob

Statuses = Mapping[str, tej.JobStatus | None]


class StepState(str, enum.Enum):
    """The state of a job of a plan."""

    ABSENT = "not submitted"
    NOT_NEEDED = "not needed"
    """Job that does not exist or failed, but all jobs that use it have succeeded."""
    QUEUED = "queued"
    """Job that waits for the jobs upstream of it, or in the queue."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """Job that failed, was killed or is lost."""
    NOT_STARTED = "not started"
    """Job that cannot start, because a job upstream failed, was killed or is lost."""

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Step:
    """A job of the plan, with its state on the server."""

    job: PlannedJob
    state: StepState
    status: tej.JobStatus | None
    """Status on the server; None if the job does not exist."""


def state_of(status: tej.JobStatus | None, *, is_used: bool) -> StepState:
    """Return the state of a job with this status.

    `is_used` is whether results that do not exist yet depend on the job.
    """
    if status is not None and status.succeeded:
        return StepState.SUCCEEDED
    if not is_used and (status is None or status.state.final):
        return StepState.NOT_NEEDED
    if status is None:
        return StepState.ABSENT
    if status.state.final:
        not_started = (status.note or "").startswith("not started")
        return StepState.NOT_STARTED if not_started else StepState.FAILED
    running = status.state is tej.JobState.RUNNING
    return StepState.RUNNING if running else StepState.QUEUED


def jobs_in_use(plan: Plan, statuses: Statuses) -> set[str]:
    """Return the ids of the jobs that are needed for results that do not exist yet.

    The wanted jobs are always in use.  A job that has succeeded no longer needs the
    jobs upstream of it.
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


def has_succeeded(steps: Mapping[str, Step]) -> bool:
    """Return whether all wanted jobs have succeeded."""
    return all(
        step.state is StepState.SUCCEEDED
        for step in steps.values()
        if step.job.is_wanted
    )
