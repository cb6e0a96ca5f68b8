"""Reused job ids: a request for the earlier job never affects the later job."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from faults.faulty_servers import Doubles
from jobs import Gate, wait_until, wait_until_ended

import tej
from tej import JobState
from tej.queue import status_requests
from tej.queue.connection import QueueConnection

Make = Callable[..., Path]


class Doing(threading.Thread):
    """A request that another client runs at the same time."""

    def __init__(self, action: Callable[[], object]) -> None:
        super().__init__()
        self.error: BaseException | None = None
        self._action = action
        self.start()

    def run(self) -> None:
        try:
            self._action()
        except BaseException as error:
            self.error = error


@pytest.fixture
def other(queue_path: Path) -> tej.RemoteQueue:
    """Return a queue of another client."""
    return tej.RemoteQueue("local:", str(queue_path), "default")


@pytest.fixture
def twice(job: Make, gate: Gate, tmp_path: Path) -> Path:
    """Return a job that fails; a retry of the job waits for the gate and succeeds."""
    once = tmp_path / "once"
    return job(
        f"echo line; [ -e '{once}' ] || {{ touch '{once}'; exit 7; }}; {gate.wait}",
        name="twice",
    )


def test_kill_of_old_job_spares_its_successor(
    queue: tej.RemoteQueue,
    other: tej.RemoteQueue,
    job: Make,
    gate: Gate,
    tmp_path: Path,
) -> None:
    deaf, again = Gate(tmp_path / "deaf may go"), tmp_path / "again"
    victim = job(f"[ -e '{again}' ] || sleep 600; {gate.wait}", name="victim")
    queue.ensure(victim, job_id="victim")
    queue.submit("deaf", job(f"trap '' TERM; touch deaf; {deaf.wait}", name="deaf"))
    begun = Path(queue.status("deaf").directory, "deaf")
    wait_until(begun.exists, "SIGTERM is ignored")
    outcomes: dict[str, object] = {}
    kill = Doing(
        lambda: outcomes.update(queue.kill_many(["victim", "deaf"], grace=600))
    )
    wait_until_ended(other, "victim")
    again.touch()
    assert other.ensure(victim, job_id="victim", retry=True).is_new
    deaf.open()
    kill.join()
    assert kill.error is None
    told = outcomes["victim"]
    assert told is not None
    assert told.status.state is JobState.KILLED  # type: ignore[attr-defined]
    assert other.status("victim").state is JobState.RUNNING
    gate.open()
    assert other.job("victim").wait(60).succeeded
    assert other.status("victim#1").state is JobState.KILLED


@pytest.mark.parametrize("how", ["cleanup", "setup"])
def test_no_job_starts_during_queue_removal(
    queue: tej.RemoteQueue,
    other: tej.RemoteQueue,
    queue_path: Path,
    doubles: Doubles,
    job: Make,
    tmp_path: Path,
    how: str,
) -> None:
    queue.setup()
    directory = job(f"touch '{tmp_path}/ran'")
    if how == "cleanup":
        hold = doubles.hold("rm", before=f"-rf {queue_path}/incoming/removed*")
        removal = Doing(queue.cleanup)
    else:
        hold = doubles.hold("mv", before=f"{queue_path} {queue_path}.old*")
        removal = Doing(lambda: queue.setup(force=True))
    try:
        hold.wait()
        with pytest.raises(tej.Error, match="the queue is being removed"):
            other.submit("late", directory)
    finally:
        hold.release()
        removal.join()
    assert removal.error is None
    assert queue_path.exists() == (how == "setup")
    assert not (tmp_path / "ran").exists()
    if how == "cleanup":
        # For this client, the file system of the queue may be unmounted.
        with pytest.raises(tej.RemoteCommandFailure, match="missing now"):
            other.submit("late", directory)
        other.setup()
    other.submit("late", directory)
    assert other.job("late").wait(60).succeeded


def test_queue_with_new_job_is_not_removed(
    queue: tej.RemoteQueue,
    other: tej.RemoteQueue,
    doubles: Doubles,
    job: Make,
    gate: Gate,
) -> None:
    """The job is published before the removal checks the queue, and starts later."""
    queue.setup()
    hold = doubles.hold("setsid", before="*run_detached.sh*")
    submission = Doing(lambda: other.submit("early", job(gate.wait)))
    try:
        hold.wait()
        with pytest.raises(tej.JobStillRunning, match="early"):
            queue.cleanup()
    finally:
        hold.release()
        submission.join()
    assert submission.error is None
    assert queue.status("early").state is JobState.RUNNING
    gate.open()
    assert queue.job("early").wait(60).succeeded
    queue.submit("next", job("true", name="next"))


def test_prune_leaves_a_retry_of_an_old_job(
    queue: tej.RemoteQueue,
    queue_path: Path,
    twice: Path,
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate.open()

    def get_jobs(connection: QueueConnection) -> list[tej.JobStatus]:
        found = list_jobs(connection)
        # Between the listing and the deletion, another client retries the job.
        assert queue.ensure(twice, job_id="twice", retry=True).wait().succeeded
        return found

    list_jobs = status_requests.get_jobs
    monkeypatch.setattr("tej.queue.prune.get_jobs", get_jobs)

    assert not queue.ensure(twice, job_id="twice").wait().succeeded
    submitted = queue_path / "jobs/twice/submitted"
    time, _, who = submitted.read_text().partition(" ")
    submitted.write_text(f"{int(time) - 60} {who}")
    assert queue.prune(older_than=timedelta(0)) == []
    assert queue.status("twice").succeeded
    assert queue.status("twice#1").exit_code == 7


def test_retry_is_not_marked_as_downloaded(
    queue: tej.RemoteQueue, other: tej.RemoteQueue, twice: Path, gate: Gate
) -> None:
    """Another client retries the job between the download and its record."""
    gate.open()
    queue.ensure(twice, job_id="twice").wait()
    queue.download("twice", ["_stdout"], directory=twice)
    queue.note_downloaded(["twice"])
    assert queue.status("twice").downloaded is not None
    assert other.ensure(twice, job_id="twice", retry=True).wait().succeeded
    queue.note_downloaded(["twice"])
    assert queue.status("twice").downloaded is None


def test_failed_retry_upload_keeps_failed_job(
    queue: tej.RemoteQueue, doubles: Doubles, twice: Path
) -> None:
    queue.ensure(twice, job_id="twice").wait()
    doubles.add("tar", "cat >/dev/null; echo 'tar: no room' >&2; exit 2")
    with pytest.raises(tej.Error, match="no room"):
        queue.ensure(twice, job_id="twice", retry=True)
    assert queue.status("twice").exit_code == 7
    assert queue.status("twice").attempt == 1
    assert not queue.ensure(twice, job_id="twice").is_new


def test_followed_output_ends_with_its_own_job(
    queue: tej.RemoteQueue,
    other: tej.RemoteQueue,
    doubles: Doubles,
    job: Make,
    gate: Gate,
    tmp_path: Path,
) -> None:
    first = Gate(tmp_path / "first")
    directory = job(
        f"if [ -e '{first.path}' ]; then echo two; {gate.wait}; "
        f"else echo one; {first.wait}; exit 7; fi"
    )
    queue.ensure(directory, job_id="twice")
    hold = doubles.hold("sleep", before="0.5")
    pieces: list[bytes] = []
    logs = queue.read_logs("twice", ["stdout"], follow=True)
    following = Doing(lambda: logs.read(lambda piece: pieces.append(piece.data)))
    try:
        hold.wait()
        first.open()
        wait_until_ended(other, "twice")
        assert other.ensure(directory, job_id="twice", retry=True).is_new
    finally:
        hold.release()
        following.join()
    assert following.error is None
    assert logs.status is not None
    assert (logs.status.exit_code, b"".join(pieces)) == (7, b"one\n")
    gate.open()
    assert other.job("twice").wait(60).succeeded


def test_job_deleted_during_submit_is_reported(
    queue: tej.RemoteQueue, other: tej.RemoteQueue, doubles: Doubles, job: Make
) -> None:
    queue.setup()
    hold = doubles.hold("rm", before="-rf */incoming/*")
    submission = Doing(lambda: queue.submit("short", job("true")))
    try:
        # The directory of the upload is the last object that is checked before the
        # start.
        hold.wait()
        wait_until_ended(other, "short")
        other.delete("short")
    finally:
        hold.release()
        submission.join()
    assert isinstance(submission.error, tej.JobNotFound)
    assert "has been deleted since" in str(submission.error)
