"""Clients that die by SIGKILL at each step of a request."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from faults.clients import PAUSE_WHILE_UPLOADING, Client, Where
from faults.conftest import Victim
from jobs import Gate, wait_until, wait_until_ended
from servers.sshd import Sshd

import tej
from tej import JobState

Start = Callable[..., Client]

STEPS = {
    "before the upload": "0",
    "early in the upload": "1",
    "in the middle of the upload": "4",
    "before the end of the upload": "-1",
    "after the upload, before the reply": "None",
}


@pytest.fixture
def anywhere(request: pytest.FixtureRequest, queue_path: Path) -> Where:
    """Return the queue on `local:` or on an sshd, as the test requests."""
    if request.param == "local":
        return Where("local:", queue_path)
    sshd: Sshd = request.getfixturevalue("sshd")
    config: Path = request.getfixturevalue("ssh_config")
    return Where(sshd.destination, queue_path, config)


def submission(victim: Victim, at: str) -> str:
    """Return the code of a client that pauses before a given chunk of its upload."""
    return (
        PAUSE_WHILE_UPLOADING.format(at=at)
        + f"queue.submit({victim.id!r}, {str(victim.directory)!r})\n"
    )


def rooms(queue_path: Path) -> list[Path]:
    """Return the directories of jobs that are being submitted or removed."""
    return list(queue_path.glob("incoming/*"))


@pytest.mark.parametrize(
    ("step", "anywhere"),
    [
        *((step, "local") for step in STEPS),
        # The server notices the death of a client differently over SSH.
        ("in the middle of the upload", "ssh"),
        ("after the upload, before the reply", "ssh"),
    ],
    indirect=["anywhere"],
)
def test_client_death_during_submit_leaves_no_partial_job(
    step: str, anywhere: Where, client: Start, victim: Victim, queue: tej.RemoteQueue
) -> None:
    dying = client(submission(victim, STEPS[step]), anywhere)
    dying.wait_for_pause()
    dying.kill()
    victim.check(queue)


def test_client_death_before_end_of_upload_starts_nothing(
    client: Start, victim: Victim, queue: tej.RemoteQueue, queue_path: Path
) -> None:
    queue.setup()
    dying = client(submission(victim, "-1"))
    dying.wait_for_pause()
    assert len(rooms(queue_path)) == 1
    assert queue.jobs() == []
    dying.kill()
    wait_until(lambda: rooms(queue_path) == [], "the server has noticed the cut")
    assert queue.jobs() == []
    assert victim.starts == 0


def test_client_death_after_submit_leaves_job_running(
    client: Start, queue: tej.RemoteQueue, job: Callable[..., Path], gate: Gate
) -> None:
    directory = job(f"{gate.wait}; exit 3")
    dying = client(f"queue.submit('orphan', {str(directory)!r})\npause()")
    dying.wait_for_pause()
    dying.kill()
    assert queue.status("orphan").state is JobState.RUNNING
    gate.open()
    wait_until_ended(queue, "orphan")
    assert queue.status("orphan").exit_code == 3


def test_client_death_at_any_time_duplicates_no_job(
    client: Start, victim: Victim, queue: tej.RemoteQueue
) -> None:
    queue.setup()
    rng = random.Random(3)
    for _ in range(5):
        dying = client(
            f"import time; print('paused', flush=True)\n"
            f"queue.submit({victim.id!r}, {str(victim.directory)!r})\n"
        )
        dying.wait_for_pause()
        # The test does not wait for a condition here: the random time selects the point
        # of the kill.
        _wait_at_most(dying, rng.uniform(0, 0.4))
        dying.kill()
        found = queue.statuses([victim.id])[victim.id]
        assert found is None or found.state is not JobState.LOST, found
    victim.check(queue)


def _wait_at_most(client: Client, seconds: float) -> None:
    import subprocess

    try:
        client.process.wait(seconds)
    except subprocess.TimeoutExpired:
        return


def test_client_death_during_download_leaves_no_partial_file(
    client: Start, queue: tej.RemoteQueue, victim: Victim, tmp_path: Path
) -> None:
    queue.submit(victim.id, victim.directory)
    out = tmp_path / "out"
    dying = client(
        f"queue.download({victim.id!r}, 'data', directory={str(out)!r}, "
        "progress=lambda size: pause())"
    )
    dying.wait_for_pause()
    dying.kill()
    assert not (out / "data").exists()
    (path,) = queue.download(victim.id, "data", directory=out)
    assert path.read_bytes() == victim.data


@pytest.mark.parametrize("verb", ["delete", "kill"])
def test_client_death_does_not_stop_delete_or_kill(
    verb: str,
    client: Start,
    queue: tej.RemoteQueue,
    job: Callable[..., Path],
    gate: Gate,
    queue_path: Path,
) -> None:
    """Once requested, the server completes the action without the client."""
    rng = random.Random(5)
    for number in range(3):
        queue.submit("victim", job("true" if verb == "delete" else gate.wait))
        if verb == "delete":
            wait_until_ended(queue, "victim")
        dying = client(f"print('paused', flush=True)\nqueue.{verb}('victim')")
        dying.wait_for_pause()
        _wait_at_most(dying, rng.uniform(0, 0.3) if number else 0)
        dying.kill()
        # The action was completed, will be completed, or was never requested.
        found = queue.statuses(["victim"])["victim"]
        allowed = {
            "delete": (None, JobState.FINISHED),
            "kill": (JobState.RUNNING, JobState.KILLED),
        }[verb]
        assert (found and found.state) in allowed
        if verb == "kill":
            assert queue.kill("victim", grace=5).state is JobState.KILLED
        if found is not None:
            _delete_if_there(queue)
        assert queue.statuses(["victim"]) == {"victim": None}


def _delete_if_there(queue: tej.RemoteQueue) -> None:
    outcome = queue.delete_many(["victim"])["victim"]
    assert outcome is None or isinstance(outcome, tej.JobNotFound)
