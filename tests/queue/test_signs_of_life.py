"""Signs of life: a job that has any of them is not removed or moved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from facts import set_word
from jobs import Gate, wait_until

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
    refuse_removal(local_queue, directory, "processes of it run")
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
    (facts / "lost").write_text("1 the scheduler does not list it\n")
    (facts / "heartbeat").touch()
    refuse_removal(local_queue, directory, "it was seen")
