"""Accounts with a limit on the number of processes (`ulimit -u`)."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faults.faulty_servers import Within
from jobs import job_directory, no_processes_left, wait_until

import tej

USER = 54_321 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
"""An account without a name and without other processes, even in parallel tests."""


@pytest.fixture
def folder(require: Callable[[str], None]) -> Iterator[Path]:
    """Return a directory of the limited account."""
    for part in ("root", "setpriv", "prlimit"):
        require(part)
    path = Path(tempfile.mkdtemp(prefix="tej-limit-"))
    os.chown(path, USER, USER)
    yield path
    no_processes_left(path)
    shutil.rmtree(path)


def limited(folder: Path, processes: int) -> tej.RemoteQueue:
    """Return a function that opens a queue with a limit on the number of processes."""
    prefix = (
        f"env HOME={folder} setpriv --reuid={USER} --regid={USER} --clear-groups "
        f"prlimit --nproc={processes}:{processes} --"
    )
    return tej.RemoteQueue(
        "local:", str(folder / "queue"), "default", transport=Within(prefix)
    )


def test_submission_that_cannot_fork_fails_and_says_why(folder: Path) -> None:
    free = limited(folder, 1000)
    free.setup()
    directory = job_directory(folder)
    failures = {}
    for processes in (2, 4, 7, 30):
        job_id = f"with-{processes}"
        try:
            limited(folder, processes).submit(job_id, directory)
        except tej.RemoteCommandFailure as error:
            failures[processes] = str(error)
            with pytest.raises(tej.JobNotFound):
                free.status(job_id)
        else:
            wait_until(
                lambda job_id=job_id: free.status(job_id).state.final,
                "the end of the job",
            )
            assert free.status(job_id).state is tej.JobState.FINISHED
    assert 2 in failures
    assert 30 not in failures
    for words in failures.values():
        # If the shell of the request cannot fork, its own message is all there is.
        assert "could not be started" in words or "Cannot fork" in words
        assert "ulimit -u" in words or "fork" in words


def test_setup_that_cannot_fork_blames_no_path(folder: Path) -> None:
    with pytest.raises(tej.RemoteCommandFailure, match="fork") as caught:
        limited(folder, 1).setup()
    assert "bytes" not in str(caught.value)


def test_request_of_several_jobs_that_cannot_fork_ends(folder: Path) -> None:
    free = limited(folder, 1000)
    free.setup()
    directory = job_directory(folder)
    ids = [f"job-{number}" for number in range(5)]
    specs = [tej.JobSpec(directory, job_id=name) for name in ids]
    outcomes = limited(folder, 13).submit_many(specs)
    for job_id, outcome in zip(ids, outcomes, strict=True):
        if outcome.error is None:
            wait_until(
                lambda job_id=job_id: free.status(job_id).state.final,
                "the end of the job",
            )
        else:
            assert "could not be started" in str(outcome.error)
            assert free.statuses([job_id]) == {job_id: None}
