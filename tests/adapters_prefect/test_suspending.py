"""Jobs that no process waits for."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from jobs import Gate, wait_until
from prefect import flow
from prefect.deployments import run_deployment

import tej
from tej_prefect import TejDestination, TejJob, suspend_until_done, tej_resumer
from tests.adapters_prefect.processes import (
    Process,
    all_are,
    cancel,
    read,
    running,
    states,
)


@contextlib.contextmanager
def resumer(api: str) -> Iterator[None]:
    """`python -m tej_prefect`, as it runs somewhere for ever."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tej_prefect"],
        env={**os.environ, "PREFECT_API_URL": api},
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def test_suspended_run_resumes_when_jobs_end(
    served: Process,
    prefect_server: str,
    destination: TejDestination,
    queue: tej.RemoteQueue,
    gate: Gate,
    unique: str,
) -> None:
    destination.save(unique)
    parameters = {"queue": destination.queue, "gate": str(gate.path), "block": unique}
    study = run_deployment("study/test", parameters=parameters, timeout=0)
    cancelled = run_deployment("study/test", parameters=parameters, timeout=0)

    def suspended() -> bool:
        names = {str(read(one.id).state_name) for one in (study, cancelled)}
        return names == {"Suspended"}

    wait_until(suspended, "the flow runs are suspended")
    wait_until(running(queue, 2), "both jobs run, each once")
    # Nothing has ended: nothing is resumed.
    tej_resumer()
    assert suspended()
    # Another one waits for its jobs: they are not killed with it.
    cancel(cancelled.id)
    wait_until(lambda: read(cancelled.id).state_type == "CANCELLED", "it is cancelled")
    tej_resumer()
    assert all_are(queue, "running")
    gate.open()
    wait_until(lambda: all_are(queue, "finished"), "the jobs have ended")
    with resumer(prefect_server):
        wait_until(lambda: read(study.id).state_type == "COMPLETED", "it has gone on")
    assert [job.attempt for job in queue.jobs()] == [1, 1]


def test_cancellation_hook_kills_unawaited_jobs(
    served: Process,
    destination: TejDestination,
    queue: tej.RemoteQueue,
    gate: Gate,
    unique: str,
) -> None:
    destination.save(unique)
    parameters = {"queue": destination.queue, "gate": str(gate.path), "block": unique}
    hooked = run_deployment("hooked/test", parameters=parameters, timeout=0)
    study = run_deployment("study/test", parameters=parameters, timeout=0)
    wait_until(running(queue, 2), "the jobs run")
    wait_until(lambda: read(study.id).state_name == "Suspended", "it is suspended")
    # It wants one of the two jobs, too, and is not there any more to kill them.
    cancel(study.id)
    wait_until(lambda: read(study.id).state_type == "CANCELLED", "it is cancelled")
    tej_resumer()
    wait_until(lambda: sorted(states(queue)) == ["killed", "running"], "one is killed")
    cancel(hooked.id)
    wait_until(lambda: all_are(queue, "killed"), "the hook has killed the other")


def test_suspending_needs_a_stored_destination(
    prefect_server: str, local: TejDestination, tmp_path: Path
) -> None:
    @flow
    def study() -> None:
        suspend_until_done(TejJob(destination=local, script="exit 0").trigger())

    with pytest.raises(ValueError, match=r"TejDestination\(...\).save"):
        study()
