"""Exit statuses of the commands, for errors and for jobs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from tej import errors

if TYPE_CHECKING:
    from tej.job.status import JobStatus

OF_ERRORS: Mapping[type[errors.Error], int] = {
    errors.JobNotFound: 3,
    errors.JobAlreadyExists: 4,
    errors.JobStillRunning: 5,
}
"""The exit status of each error class that has its own exit status.

The exit status of every other error is 1.  For wrong usage, click sets the exit status
2."""

INTERRUPTED = 130
"""Exit status after Ctrl-C, as in a shell."""
SIGPIPE = 141
"""Exit status if the program that reads the output has closed the pipe."""
LIMIT_REACHED = 124
"""Exit status of `run` and `wait` if the job exceeded a limit, as from timeout(1)."""
TEJ_FAILED = 125
"""Exit status of `run` and `wait` if tej itself failed, and not the job."""
WAIT_TIMED_OUT = TEJ_FAILED
"""Exit status of `wait` if the jobs have not ended within `--timeout`."""
DECLINED = 1
"""Exit status of a deletion that the user has not confirmed."""


def exit_status(error: errors.Error) -> int:
    """Return the exit status for an error."""
    for kind, status in OF_ERRORS.items():
        if isinstance(error, kind):
            return status
    return 1


def of_error(error: errors.Error, command: str) -> int:
    """Return the exit status of a command that has failed with an error.

    `run` and `wait` have the exit status of the job, so a failure of tej itself must
    have an exit status of its own.
    """
    return TEJ_FAILED if command in ("run", "wait") else exit_status(error)


def of_job(status: JobStatus) -> int:
    """Return the exit status of `run` and `wait` for a job that has ended.

    The exit status is the job's exit code, or 128 plus the number of the signal that
    ended the job.  The exit status is 124 if the job exceeded a limit.  The exit status
    is 125 if the job was cut off for another reason, is lost, has no exit code, or was
    killed but exited with 0.
    """
    # Import the module here: a top-level import would make `tej --help` slower.
    from tej.job.status import JobState

    if status.cut_off is not None:
        return LIMIT_REACHED if status.cut_off == "limit" else TEJ_FAILED
    if status.state is JobState.LOST or status.result is None:
        return TEJ_FAILED
    if status.state is JobState.KILLED and status.exit_code == 0:
        return TEJ_FAILED
    return int(status.result)


def of_jobs(statuses: Iterable[JobStatus]) -> int:
    """Return the exit status of `wait` for jobs that have ended.

    The exit status is that of the first job whose exit status is not 0, or else 0.
    """
    return next((code for code in map(of_job, statuses) if code), 0)
