"""Job limit: the number of running jobs, the waiting list, and deaths of processes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from faults.clients import continue_together
from jobs import Gate, end_processes_of, wait_until

import tej
from tej import JobState

if TYPE_CHECKING:
    from tests.cli.conftest import Command
    from tests.faults.clients import Client

Make = Callable[..., Path]


@pytest.fixture
def witness(tmp_path: Path, job: Make) -> Path:
    """Return a job that records the number of running jobs of its kind in `seen`."""
    (tmp_path / "now").mkdir()
    return job(
        f"""here='{tmp_path}/now'; : >"$here/$TEJ_JOB_ID"
        echo "$TEJ_JOB_ID" >>'{tmp_path}/order'
        for _ in 1 2 3; do
            set -- "$here"/*; echo $# >>'{tmp_path}/seen'; sleep 0.05
        done
        rm "$here/$TEJ_JOB_ID\"""",
        name="witness",
    )


def most_at_once(tmp_path: Path) -> int:
    return max(int(line) for line in (tmp_path / "seen").read_text().split())


def states(queue: tej.RemoteQueue) -> dict[str, str]:
    return {status.job_id: str(status.state) for status in queue.jobs()}


def submit(queue: tej.RemoteQueue, directory: Path, *names: str) -> list[str]:
    specs = [tej.JobSpec(directory, job_id=name) for name in names]
    outcomes = [*queue.submit_many(specs)]
    assert [outcome.error for outcome in outcomes] == [None] * len(names)
    return [*names]


@pytest.mark.parametrize("limit", [1, 3])
def test_limit_is_kept_and_jobs_run_in_order(
    queue: tej.RemoteQueue, witness: Path, tmp_path: Path, limit: int
) -> None:
    queue.setup(max_running=limit)
    ids = submit(queue, witness, *(f"job{number}" for number in range(8)))
    assert all(status.succeeded for status in queue.wait(ids).values())
    assert most_at_once(tmp_path) <= limit
    if limit == 1:
        assert (tmp_path / "order").read_text().split() == ids


def test_limit_is_kept_with_many_clients(
    client: Callable[[str], Client],
    local_queue: tej.RemoteQueue,
    witness: Path,
    tmp_path: Path,
) -> None:
    local_queue.setup(max_running=2)
    lines = (
        "import os\n"
        f"specs = [tej.JobSpec({str(witness)!r}) for n in range(5)]\n"
        "pause()\n"
        "ids = [outcome.job_id for outcome in queue.submit_many(specs)]\n"
        "assert all(status.succeeded for status in queue.wait(ids).values())"
    )
    clients = [client(lines) for _ in range(3)]
    continue_together(clients)
    for one in clients:
        one.finish()
    assert most_at_once(tmp_path) <= 2
    assert len((tmp_path / "order").read_text().split()) == 15


def test_waiting_job_is_queued(queue: tej.RemoteQueue, job: Make, gate: Gate) -> None:
    queue.setup(max_running=1)
    submit(queue, job(gate.wait), "a", "b")
    wait_until(lambda: states(queue)["a"] == "running", "the first job runs")
    status = queue.status("b")
    assert status.state is JobState.QUEUED
    assert (status.started, status.native_id) == (None, None)
    assert status.describe() == "Job is queued"
    with pytest.raises(tej.JobStillRunning):
        queue.delete("b")
    assert [*queue.logs("b")] == []
    gate.open()
    assert queue.wait(["a", "b"])["b"].succeeded


def test_killed_queued_job_never_starts(
    queue: tej.RemoteQueue, job: Make, gate: Gate, tmp_path: Path
) -> None:
    queue.setup(max_running=1)
    directory = job(f"echo $TEJ_JOB_ID >>'{tmp_path}/order'; {gate.wait}")
    submit(queue, directory, "a", "b", "c")
    outcome = queue.kill_many(["b"])["b"]
    assert outcome is not None
    assert outcome.was is JobState.QUEUED
    assert outcome.status.state is JobState.KILLED
    assert outcome.status.exit_code is None
    gate.open()
    assert queue.wait(["a", "c"])["c"].succeeded
    assert (tmp_path / "order").read_text().split() == ["a", "c"]


def test_killed_job_frees_its_slot(
    local_queue: tej.RemoteQueue, job: Make, gate: Gate
) -> None:
    local_queue.setup(max_running=1)
    submit(local_queue, job(gate.wait), "a", "b")
    local_queue.kill("a", grace=5)
    wait_until(lambda: states(local_queue)["b"] == "running", "the next job runs")
    gate.open()


def test_raised_limit_starts_waiting_jobs(
    queue: tej.RemoteQueue, job: Make, gate: Gate
) -> None:
    queue.setup(max_running=1)
    ids = submit(queue, job(gate.wait), "a", "b", "c", "d")
    queue.limit(3)
    wait_until(
        lambda: [*states(queue).values()].count("running") == 3, "three of them run"
    )
    assert states(queue)["d"] == "queued"
    # The server sends a byte before each start, so that it is not silent for too long.
    assert queue.connection.run_verb("limit", "0").data.startswith(b"\0")
    wait_until(lambda: set(states(queue).values()) == {"running"}, "all jobs run")
    gate.open()
    queue.wait(ids)


def test_jobs_started_without_limit_count_towards_new_limit(
    local_queue: tej.RemoteQueue, job: Make, gate: Gate, queue_path: Path
) -> None:
    local_queue.setup(max_running=1)
    local_queue.limit(0)
    submit(local_queue, job(gate.wait), "a", "b")
    for name in ("a", "b"):
        assert not (queue_path / "jobs" / name / "queued").exists()
    local_queue.limit(2)
    submit(local_queue, job("true"), "c")
    assert states(local_queue)["c"] == "queued"
    gate.open()
    assert local_queue.wait(["c"])["c"].succeeded


def test_lowered_limit_ends_no_job(
    local_queue: tej.RemoteQueue, job: Make, gate: Gate
) -> None:
    local_queue.setup(max_running=3)
    ids = submit(local_queue, job(gate.wait), "a", "b", "c", "d")
    wait_until(
        lambda: [*states(local_queue).values()].count("running") == 3, "three run"
    )
    local_queue.limit(1)
    assert [*states(local_queue).values()].count("running") == 3
    gate.open()
    assert all(status.succeeded for status in local_queue.wait(ids).values())


def test_jobs_older_than_limit_use_slots(
    local_queue: tej.RemoteQueue, job: Make, gate: Gate, tmp_path: Path
) -> None:
    directory = job(gate.wait)
    local_queue.setup(max_running=1)
    submit(local_queue, directory, "a")
    # Without a limit, the waiting list is not used.
    local_queue.limit(0)
    submit(local_queue, directory, "b", "c")
    wait_until(lambda: set(states(local_queue).values()) == {"running"}, "all jobs run")
    local_queue.limit(3)
    submit(local_queue, directory, "d")
    assert states(local_queue)["d"] == "queued"
    gate.open()
    assert local_queue.wait(["d"])["d"].succeeded


@pytest.mark.parametrize("asked", ["status", "wait", "submit", "limit"])
def test_next_request_starts_job_after_outside_kill(
    local_queue: tej.RemoteQueue,
    job: Make,
    gate: Gate,
    queue_path: Path,
    asked: str,
) -> None:
    local_queue.setup(max_running=1)
    directory = job(gate.wait)
    submit(local_queue, directory, "a", "b")
    wait_until(lambda: states(local_queue)["a"] == "running", "the first job runs")
    end_processes_of(queue_path)
    assert not (queue_path / "jobs/b/started").exists()
    gate.open()
    if asked == "status":
        assert local_queue.status("a").state is JobState.LOST
    elif asked == "submit":
        submit(local_queue, directory, "c")
    elif asked == "limit":
        local_queue.limit(1)
    if asked == "wait":
        assert local_queue.wait(["b"])["b"].succeeded
    wait_until((queue_path / "jobs/b/finished").exists, "the next job has run")


def test_job_admitted_by_dead_process_is_started(
    local_queue: tej.RemoteQueue, job: Make, gate: Gate, queue_path: Path
) -> None:
    local_queue.setup(max_running=1)
    submit(local_queue, job(gate.wait), "a", "b")
    wait_until(lambda: states(local_queue)["a"] == "running", "the first job runs")
    (waiting,) = (queue_path / "waiting").iterdir()
    waiting.rename(queue_path / "running/b")
    gate.open()
    assert local_queue.wait(["b"])["b"].succeeded


def test_reused_id_does_not_block_itself(
    local_queue: tej.RemoteQueue, job: Make, gate: Gate, queue_path: Path
) -> None:
    local_queue.setup(max_running=1)
    directory = job(gate.wait)
    local_queue.ensure(directory, job_id="a")
    wait_until(
        lambda: local_queue.status("a").state is JobState.RUNNING, "the job runs"
    )
    # The job's slot is not released, because its wrapper is dead.
    end_processes_of(queue_path)
    gate.open()
    again = local_queue.ensure(directory, job_id="a", retry=True)
    assert again.is_new
    assert again.wait().succeeded


def test_lock_of_dead_process_is_released(
    local_queue: tej.RemoteQueue, job: Make, queue_path: Path
) -> None:
    local_queue.setup(max_running=1)
    submit(local_queue, job("true"), "a")
    local_queue.wait(["a"])
    words = (queue_path / "jobs/a/native_id").read_text().split()
    (queue_path / "lock").symlink_to(f"1700000000 {' '.join(words[1:])}")
    submit(local_queue, job("true"), "b")
    assert local_queue.wait(["b"])["b"].succeeded
    wait_until(lambda: not (queue_path / "lock").is_symlink(), "the lock is free")


def test_slot_of_dead_wrapper_is_released(
    local_queue: tej.RemoteQueue, job: Make, gate: Gate, queue_path: Path
) -> None:
    local_queue.setup(max_running=1)
    directory = job(gate.wait)
    submit(local_queue, directory, "a", "b", "c")
    claim = queue_path / "jobs/b/claim"
    claim.mkdir()
    # The test does not wait for a minute, but sets the age of the heartbeat.
    assert states(local_queue)["b"] == "queued"
    os.utime(claim, (1_700_000_000, 1_700_000_000))
    status = local_queue.status("b")
    assert status.state is JobState.LOST
    assert "its wrapper died" in (status.note or status.evidence or "")
    gate.open()
    assert local_queue.wait(["c"])["c"].succeeded


def test_command_sets_the_limit(
    command: Command,
    local_queue: tej.RemoteQueue,
    job: Make,
    gate: Gate,
    queue_path: Path,
) -> None:
    own = {"TEJ_DESTINATION": "local:", "TEJ_QUEUE": str(queue_path)}
    assert command("setup", "-r", "default", "--max-running", 1, **own).status == 0
    submit(local_queue, job(gate.wait), "a", "b")
    wait_until(lambda: states(local_queue)["a"] == "running", "the first job runs")
    assert command("list", "--state", "queued", **own).stdout == "b queued\n"
    done = command("limit", "0", "--json", **own)
    assert done.json == {"queue": str(queue_path), "max_running": 0}
    wait_until(lambda: states(local_queue)["b"] == "running", "both jobs run")
    assert command("limit", "many", **own).status == 2
    gate.open()
    with pytest.raises(ValueError, match="0 or more"):
        local_queue.limit(-1)
