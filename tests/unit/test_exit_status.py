"""Exit statuses of the commands, for errors and for jobs that have ended."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

import tej
from tej import __main__ as entry_point
from tej.cli.exit_status import SIGPIPE, TEJ_FAILED, exit_status, of_job
from tej.job.status import JobState, JobStatus


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (tej.JobNotFound(), 3),
        (tej.JobAlreadyExists(), 4),
        (tej.JobStillRunning(), 5),
        (tej.ConnectionFailed(), 1),
        (tej.QueueLinkBroken(), 1),
    ],
)
def test_errors_have_statuses(error: tej.Error, status: int) -> None:
    assert exit_status(error) == status


def test_entry_point_has_the_same_statuses() -> None:
    assert (entry_point.TEJ_FAILED, entry_point.SIGPIPE) == (TEJ_FAILED, SIGPIPE)


FINISHED, KILLED, LOST = JobState.FINISHED, JobState.KILLED, JobState.LOST


@pytest.mark.parametrize(
    ("state", "code", "signal", "cut_off", "status"),
    [
        (FINISHED, 0, None, None, 0),
        (FINISHED, 7, None, None, 7),
        (FINISHED, None, 15, None, 143),
        (FINISHED, 0, None, "limit", 124),
        (FINISHED, 0, None, "preempted", 125),
        (KILLED, 0, None, None, 125),
        (KILLED, 3, None, None, 3),
        (KILLED, None, 9, None, 137),
        (LOST, None, None, None, 125),
    ],
)
def test_ended_jobs_have_statuses(
    state: JobState,
    code: int | None,
    signal: int | None,
    cut_off: str | None,
    status: int,
) -> None:
    job = JobStatus(
        "a", state, PurePosixPath("/"), exit_code=code, signal=signal, cut_off=cut_off
    )
    assert of_job(job) == status
