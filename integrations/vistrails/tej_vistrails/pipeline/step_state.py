"""States of steps.  A step is a job of a plan, with its state on the server."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

import tej
from tej_vistrails.pipeline.plan import PlannedJob


class StepState(str, enum.Enum):
    """The state of a job of a plan."""

    ABSENT = "not submitted"
    NOT_NEEDED = "not needed"
    """Job that does not exist or failed, but all jobs that use it have succeeded."""
    QUEUED = "queued"
    """Job that waits: for upstream jobs, in the scheduler, or for the job limit."""
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
    """Return the state of a job whose status on the server is `status`.

    `is_used` is true if results that do not exist yet depend on the job.
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


def has_succeeded(steps: Mapping[str, Step]) -> bool:
    """Return whether all wanted jobs have succeeded."""
    return all(
        step.state is StepState.SUCCEEDED
        for step in steps.values()
        if step.job.is_wanted
    )
