"""Signs of life: a job that has any of them is not removed or moved."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from clocks import pass_time, set_age
from facts import beat_of, set_word, wrapper_of
from jobs import Gate, wait_until, wait_until_printed, wrappers_of

import tej

Make = Callable[..., Path]


def refuse_removal(queue: tej.RemoteQueue, directory: Path, sign: str) -> None:
    """Check that every request that would remove or move the job is refused."""
    (job,) = queue.jobs()
    assert job.state.final
    stage = Path(job.directory)
    with pytest.raises(tej.JobStillRunning, match=sign):
        queue.delete(job.job_id)
    with pytest.raises(tej.JobStillRunning, match=sign):
        queue.ensure(directory, job_id=job.job_id, retry=True)
    with pytest.raises(tej.JobStillRunning, match=job.job_id):
        queue.cleanup()
    with pytest.raises(tej.JobStillRunning):
        queue.setup(force=2)
    assert queue.prune() == []
    assert stage.is_dir()
    assert queue.attempts(job.job_id) == []


@pytest.mark.parametrize("fact", ["finished", "lost"])
def test_job_with_processes_is_kept_whatever_was_written(
    local_queue: tej.RemoteQueue, job: Make, gate: Gate, fact: str
) -> None:
    directory = job(gate.wait)
    job_id = local_queue.submit(None, directory)
    facts = Path(local_queue.status(job_id).directory).parent
    # Record an end as another host or a scheduler would.
    text = {"finished": "1 exit 1 own 0\n", "lost": "1 the node fell silent\n"}[fact]
    (facts / fact).write_text(text)
    if fact == "lost":
        set_word(facts, "native_id", 1, "elsewhere")
    refuse_removal(local_queue, directory, "some of its processes run")
    gate.open()
    if fact == "lost":
        wait_until(lambda: (facts / "finished").exists(), "the job has ended")
    wait_until(
        lambda: not local_queue.status(job_id).processes_left, "the job has ended"
    )

    def is_deleted() -> bool:
        try:
            local_queue.delete(job_id)
        except tej.JobStillRunning:
            return False
        return True

    wait_until(is_deleted, "no process is left")


def test_job_of_another_host_with_heartbeat_is_kept(
    local_queue: tej.RemoteQueue, job: Make
) -> None:
    directory = job("exit 1")
    job_id = local_queue.submit(None, directory)
    assert not local_queue.wait([job_id])[job_id].succeeded
    facts = Path(local_queue.status(job_id).directory).parent
    (facts / "finished").unlink()
    (facts / "native_id").write_text("pid elsewhere boot 1 1 1\n")
    # With a heartbeat that is newer than `lost`, the job would be running.
    (facts / "heartbeat").touch()
    (facts / "lost").write_text("1 the scheduler does not list it\n")
    refuse_removal(
        local_queue, directory, "try again 900 seconds after it was last seen"
    )


def test_job_lost_for_another_host_runs_here(
    local_queue: tej.RemoteQueue, job: Make, gate: Gate, queue_path: Path
) -> None:
    local_queue.submit("here", job(f"echo begun; {gate.wait}"))
    facts = queue_path / "jobs/here"
    # A job that is marked as lost before its script runs does not start.
    wait_until_printed(queue_path, "here")
    (facts / "lost").write_text("1 no sign of life from this host\n")
    set_age(1000, facts / "heartbeat")
    assert local_queue.status("here").state is tej.JobState.RUNNING
    os.kill(wrapper_of(facts), signal.SIGKILL)
    status = local_queue.status("here")
    assert status.state is tej.JobState.RUNNING
    assert "it was reported as lost" in (status.note or "")
    assert local_queue.kill("here", grace=0).state is tej.JobState.KILLED


@pytest.mark.parametrize("count", [1, 2])
def test_killed_heartbeat_process_is_replaced(
    local_queue: tej.RemoteQueue, job: Make, gate: Gate, queue_path: Path, count: int
) -> None:
    directory = job(gate.wait)
    ids = [f"job{number}" for number in range(count)]
    local_queue.submit_many(tej.JobSpec(directory, job_id=one) for one in ids)
    facts = [queue_path / "jobs" / one for one in ids]
    wait_until(lambda: all((one / "started").exists() for one in facts), "all run")
    wrappers = {wrapper_of(one) for one in facts}
    for pid in {*wrappers_of(queue_path)} - wrappers:
        os.kill(pid, signal.SIGKILL)
    for path in facts:
        (path / "heartbeat").write_text("1700000000\n")
        set_age(1000, path / "heartbeat")
    local_queue.jobs()
    for path in facts:
        pass_time(path)
    local_queue.jobs()
    for path in facts:
        wait_until(lambda path=path: beat_of(path) > 1_700_000_000, "a new heartbeat")
    wait_until(
        lambda: len({*wrappers_of(queue_path)} - wrappers) == count,
        "each job has one process that writes its heartbeat",
    )
    gate.open()
    assert all(one.succeeded for one in local_queue.wait(ids).values())
    # The processes would end with the next heartbeat.
    for pid in {*wrappers_of(queue_path)} - wrappers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not wrappers_of(queue_path), "no process is left")
