"""Exit statuses of the commands."""

from __future__ import annotations

from collections.abc import Mapping

from tej import errors
from tej.job.status import JobState, JobStatus

OF_ERRORS: Mapping[type[errors.Error], int] = {
    errors.JobNotFound: 3,
    errors.JobAlreadyExists: 4,
    errors.JobStillRunning: 5,
}
"""Exit statuses of errors; all others have 1, and wrong usage has 2 (by click)."""

INTERRUPTED = 130
"""Ctrl-C, as shells report it."""
SIGPIPE = 141
"""The reader of the output has closed it, as shells report it."""
LIMIT_REACHED = 124
"""Of `run` and `wait`, if the job exceeded a limit; as timeout(1) says it."""
TEJ_FAILED = 125
"""`run` and `wait` failed, as opposed to the job."""


def exit_status(error: errors.Error) -> int:
    """The exit status of an error."""
    for kind, status in OF_ERRORS.items():
        if isinstance(error, kind):
            return status
    return 1


def of_job(status: JobStatus) -> int:
    """The exit status of a job: its exit code, or 128 plus the signal that ended it;
    124 if it exceeded a limit; 125 if it was cut off otherwise, is lost, or was killed
    and has no such status."""
    if status.cut_off is not None:
        return LIMIT_REACHED if status.cut_off == "limit" else TEJ_FAILED
    if status.state is JobState.LOST or status.result is None:
        return TEJ_FAILED
    if status.state is JobState.KILLED and status.exit_code == 0:
        return TEJ_FAILED
    return int(status.result)
