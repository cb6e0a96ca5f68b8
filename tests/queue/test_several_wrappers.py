"""Wrappers of the jobs of one request: independent subshells of one shell."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

from facts import wrapper_of
from jobs import (
    Gate,
    is_alive,
    parent_of,
    wait_until,
    wait_until_started,
    wrappers_of,
)

import tej
from tej import JobState

Make = Callable[..., Path]


def test_dead_wrapper_harms_no_other_job(
    local_queue: tej.RemoteQueue, queue_path: Path, job: Make, gate: Gate
) -> None:
    ids = ["a", "b", "c"]
    directory = job(gate.wait)
    for outcome in local_queue.submit_many(
        tej.JobSpec(directory, job_id=name) for name in ids
    ):
        assert outcome.error is None
    wait_until_started(queue_path, *ids)
    wrappers = [wrapper_of(queue_path / "jobs" / name) for name in ids]
    (shell,) = {parent_of(pid) for pid in wrappers}
    for pid in (shell, wrappers[0]):
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda pid=pid: not is_alive(pid), "the process is gone")
    states = {status.job_id: status.state for status in local_queue.jobs()}
    assert states == dict.fromkeys(ids, JobState.RUNNING)
    gate.open()
    found = local_queue.wait(ids)
    assert [found[name].succeeded for name in ids] == [False, True, True]
    assert found["a"].state is JobState.LOST


def test_running_job_of_many_has_one_wrapper_process(
    local_queue: tej.RemoteQueue, queue_path: Path, job: Make, gate: Gate
) -> None:
    directory = job(gate.wait)
    ids = [f"job{number}" for number in range(5)]
    local_queue.submit_many(tej.JobSpec(directory, job_id=name) for name in ids)
    wait_until_started(queue_path, *ids)
    # The two other processes are the parent of all wrappers, and the heartbeat.
    wait_until(lambda: len(wrappers_of(queue_path)) == len(ids) + 2, "no other process")
    gate.open()
    assert all(status.succeeded for status in local_queue.wait(ids).values())
    wait_until(lambda: not wrappers_of(queue_path), "all have ended")


def test_usual_job_of_many_needs_no_other_shell(
    local_queue: tej.RemoteQueue, queue_path: Path, job: Make
) -> None:
    """Starting a program takes longer than all other work at the start of a job."""
    local_queue.setup()
    (path,) = queue_path.glob("scripts/*/exec_job.sh")
    path.unlink()
    specs = [tej.JobSpec(job("echo $1"), f"start.sh {word}") for word in ("a", "b.c")]
    ids = [one.job_id for one in local_queue.submit_many(specs)]
    assert all(status.succeeded for status in local_queue.wait(ids).values())
    assert [b"".join(local_queue.logs(one)) for one in ids] == [b"a\n", b"b.c\n"]


def test_processes_left_by_each_job_are_counted(
    local_queue: tej.RemoteQueue, job: Make, gate: Gate
) -> None:
    scripts = {
        "none": "true",
        "child": "sh leaf >/dev/null 2>&1 &",
        "own-session": "setsid sh leaf >/dev/null 2>&1 &",
        "no-environment": 'env -i PATH="$PATH" sh leaf &',
        # Only the child of the orphan has the session and the environment of the job.
        "orphan-with-child": '(sh leaf & exec env -i PATH="$PATH" setsid sh leaf) &',
    }
    files = {"leaf": gate.wait}
    specs = [
        tej.JobSpec(job(script, files, name=name), job_id=name)
        for name, script in scripts.items()
    ]
    assert not [one for one in local_queue.submit_many(specs) if one.error]
    found = local_queue.wait(scripts)
    left = {name: status.processes_left for name, status in found.items()}
    assert left.pop("none") == 0
    assert all(count >= 1 for count in left.values()), left
    assert all(status.succeeded for status in found.values())
    gate.open()
    wait_until(
        lambda: not any(one.processes_left for one in local_queue.jobs()),
        "all jobs have ended",
    )


def test_pipe_planted_as_end_is_replaced(
    local_queue: tej.RemoteQueue, job: Make
) -> None:
    directory = job("mkfifo ../finished; exit 3")
    ids = ["a", "b"]
    local_queue.submit_many(tej.JobSpec(directory, job_id=name) for name in ids)
    found = local_queue.wait(ids, timeout=90)
    assert [found[name].exit_code for name in ids] == [3, 3]
