"""Exit statuses, by which a script can tell what happened."""

from __future__ import annotations

from collections.abc import Mapping

from tej import errors
from tej.job.status import JobState, JobStatus

OF_ERRORS: Mapping[type[errors.Error], int] = {
    errors.JobNotFound: 3,
    errors.JobAlreadyExists: 4,
    errors.JobStillRunning: 5,
}
"""Of all others: 1.  click's own, for words it does not understand: 2."""

INTERRUPTED = 130
"""By Ctrl-C, as shells say it."""
SIGPIPE = 141
"""Whoever read the output has gone; as shells say it."""
TEJ_FAILED = 125
"""Of `run` and `wait`, if it is not the job's own."""


def exit_status(error: errors.Error) -> int:
    """That of an error."""
    for kind, status in OF_ERRORS.items():
        if isinstance(error, kind):
            return status
    return 1


def of_job(status: JobStatus) -> int:
    """That of a job, as its own shell would have said: its exit code, or 128 and the
    signal that ended it; 125 if it did not end by itself."""
    if status.state is JobState.LOST or status.result is None:
        return TEJ_FAILED
    if status.state is JobState.KILLED and status.exit_code == 0:
        return TEJ_FAILED
    return int(status.result)
