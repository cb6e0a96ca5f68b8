"""The five promises of the documentation; their parts have further tests elsewhere."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from facts import wrapper_of
from faults.clients import PAUSE_WHILE_UPLOADING, Client
from faults.conftest import Victim
from jobs import (
    Gate,
    is_alive,
    job_directory,
    processes_of,
    wait_until,
    wait_until_ended,
)

import tej
from tej import JobState

Start = Callable[..., Client]
Make = Callable[..., Path]


def test_another_client_can_take_over_job(
    queue: tej.RemoteQueue, client: Start, job: Make, gate: Gate, tmp_path: Path
) -> None:
    """A client may die; another client needs only the job id."""
    directory = job(f"{gate.wait}; echo result >result; exit 3")
    first = client(f"queue.submit('job', {str(directory)!r})\npause()")
    first.wait_for_pause()
    first.kill()
    second = client("print(queue.status('job').state)\npause()")
    assert second.process.stdout.readline() in ("running\n", "created\n")
    second.kill()
    gate.open()
    third = client("status = queue.job('job').wait(); print(status.exit_code)")
    assert third.finish() == "3\n"
    (path,) = queue.download("job", "result", directory=tmp_path / "out")
    assert path.read_text() == "result\n"


def test_submit_is_atomic(
    queue: tej.RemoteQueue, client: Start, victim: Victim
) -> None:
    """An interrupted upload is invisible, never started, and blocks no new attempt."""
    queue.setup()
    code = PAUSE_WHILE_UPLOADING.format(at="4")
    half = client(f"{code}queue.submit({victim.id!r}, {str(victim.directory)!r})")
    half.wait_for_pause()
    assert queue.jobs() == []
    assert queue.statuses([victim.id]) == {victim.id: None}
    half.kill()
    assert victim.starts == 0
    victim.check(queue)


def test_status_is_true_or_unknown(
    queue: tej.RemoteQueue, queue_path: Path, job: Make, gate: Gate
) -> None:
    """No job is reported as running forever, or as finished due to an empty list."""
    queue.submit("job", job(gate.wait))
    assert queue.status("job").state in (JobState.RUNNING, JobState.CREATED)
    native = queue_path / "jobs/job/native_id"
    wait_until(native.exists, "the wrapper has recorded itself")
    wrapper = wrapper_of(queue_path / "jobs/job")
    os.kill(wrapper, signal.SIGKILL)
    wait_until(lambda: not is_alive(wrapper), "the wrapper is gone")
    status = queue.status("job")
    if processes_of(queue_path):
        assert status.state in (JobState.RUNNING, JobState.LOST)
    for pid in processes_of(queue_path):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not processes_of(queue_path), "all processes are gone")
    status = queue.status("job")
    assert status.state is JobState.LOST
    assert status.evidence
    assert status.exit_code is None
    assert queue.jobs() == [status]


def test_one_request_costs_one_round_trip(
    queue: tej.RemoteQueue, tmp_path: Path
) -> None:
    """The number of round trips does not grow with the number of files or jobs."""
    count = 8
    files = {f"data/{number}": "x" * number for number in range(count)}
    directory = job_directory(tmp_path, "true", files)
    queue.setup()
    transport = queue.transport
    trips = []

    def trip(do: Callable[[], object]) -> None:
        before = transport.runs  # type: ignore[attr-defined]
        do()
        trips.append(transport.runs - before)  # type: ignore[attr-defined]

    specs = [tej.JobSpec(directory, job_id=f"job{number}") for number in range(count)]
    trip(lambda: list(queue.submit_many(specs)))
    ids = [f"job{number}" for number in range(count)]
    trip(lambda: queue.wait(ids))
    trip(lambda: queue.statuses(ids))
    trip(queue.jobs)
    trip(lambda: queue.download("job0", "data", directory=tmp_path / "out"))
    trip(lambda: queue.kill_many(ids))
    trip(lambda: queue.delete_many(ids))
    trip(queue.cleanup)
    assert trips == [1] * len(trips)


def test_nothing_is_deleted_without_request(
    queue: tej.RemoteQueue, queue_path: Path, job: Make, gate: Gate, tmp_path: Path
) -> None:
    """No job is deleted, overwritten, restarted or skipped unless the user requests it."""
    runs = job(f"echo once >>'{tmp_path}/starts'; {gate.wait}")
    queue.submit("job", runs)
    with pytest.raises(tej.JobAlreadyExists):
        queue.submit("job", runs)
    with pytest.raises(tej.JobStillRunning):
        queue.delete("job")
    with pytest.raises(tej.JobStillRunning):
        queue.cleanup()
    with pytest.raises(tej.QueueExists):
        queue.setup()
    with pytest.raises(tej.JobStillRunning):
        queue.setup(force=2)
    with pytest.raises(tej.DownloadFailed):
        queue.download("job", "no such file", directory=tmp_path / "out")
    found = queue.delete_many(["absent", "job"])
    assert [type(error).__name__ for error in found.values()] == [
        "JobNotFound",
        "JobStillRunning",
    ]
    gate.open()
    wait_until_ended(queue, "job")
    with pytest.raises(tej.JobAlreadyExists):
        queue.submit("job", runs)
    assert queue.status("job").succeeded
    assert (tmp_path / "starts").read_text() == "once\n"
    assert (queue_path / "jobs/job/stage/start.sh").exists()
