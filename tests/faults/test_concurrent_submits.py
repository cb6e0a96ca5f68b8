"""Many clients with one id, and uploads that are abandoned or slow."""

from __future__ import annotations

import os
import subprocess
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from faults.clients import PAUSE_WHILE_UPLOADING, Client, continue_together
from faults.conftest import Victim
from faults.faulty_servers import Doubles
from installer import change_scripts
from jobs import Gate, wait_until, wait_until_ended

import tej

Start = Callable[..., Client]
CLIENTS = 5


@pytest.mark.parametrize("is_set_up", [True, False], ids=["queue", "no queue yet"])
def test_one_of_many_clients_starts_the_job(
    is_set_up: bool, queue: tej.RemoteQueue, client: Start, victim: Victim
) -> None:
    if is_set_up:
        queue.setup()
    code = (
        f"pause()\ntry: queue.submit({victim.id!r}, {str(victim.directory)!r})\n"
        "except tej.Error as error: print(type(error).__name__)\n"
        "else: print('mine')\n"
    )
    clients = [client(code) for _ in range(CLIENTS)]
    continue_together(clients)
    answers = Counter(one.finish().strip() for one in clients)
    assert answers == {"mine": 1, "JobAlreadyExists": CLIENTS - 1}
    victim.check(queue)


def test_upload_in_progress_is_not_collected(
    queue: tej.RemoteQueue,
    queue_path: Path,
    client: Start,
    victim: Victim,
    job: Callable[..., Path],
    gate: Gate,
) -> None:
    slow = client(
        PAUSE_WHILE_UPLOADING.format(at="3")
        + f"queue.submit({victim.id!r}, {str(victim.directory)!r})\n"
    )
    slow.wait_for_pause()
    (room,) = queue_path.glob("incoming/*")
    # The upload is kept for as long as its owner runs.
    for path in (room, *room.rglob("*")):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    for name in ("one", "two"):
        queue.submit(name, job("true", name=name))
    wait_until_ended(queue, "two")
    queue.delete("two")
    assert room.exists()
    assert queue.statuses([victim.id]) == {victim.id: None}
    slow.go_on()
    slow.finish()
    victim.check(queue)


def test_abandoned_upload_is_collected_by_next_submit(
    queue: tej.RemoteQueue, queue_path: Path, job: Callable[..., Path]
) -> None:
    queue.submit("first", job("true"))
    (queue_path / "incoming/feed.1/stage").mkdir(parents=True)
    # The owner belongs to this boot, but the process has ended.
    words = (queue_path / "jobs/first/submitted").read_text().split()[1:]
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    words[3] = str(gone.pid)
    (queue_path / "incoming/feed.1/.owner").write_text(" ".join(words) + "\n")
    queue.submit("second", job("true"))
    assert list(queue_path.glob("incoming/*")) == []


def test_concurrent_retry_returns_the_other_job(
    queue: tej.RemoteQueue,
    queue_path: Path,
    doubles: Doubles,
    job: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """The second retry arrives while the first holds the claim.

    At that time, the failed job is not archived yet.
    """
    good = tmp_path / "good"
    directory = job(f"[ -e '{good}' ]")
    assert not queue.ensure(directory, job_id="again").wait().succeeded
    good.touch()
    hold = doubles.hold("mv", before="*/attempts/*")
    napped = tmp_path / "napped"
    doubles.add("sleep", f'[ "$1" != 0.2 ] || : >{napped}\nexec "$real" "$@"')
    found: list[tej.Job] = []

    def retry() -> None:
        own = tej.RemoteQueue("local:", str(queue_path))
        found.append(own.ensure(directory, job_id="again", retry=True))

    threads = [threading.Thread(target=retry) for _ in range(2)]
    try:
        threads[0].start()
        hold.wait()
        threads[1].start()
        wait_until(
            lambda: napped.exists() or found, "the second retry has met the claim"
        )
        assert not found
    finally:
        hold.release()
        for thread in threads:
            thread.join()
    assert [one.is_new for one in found].count(True) == 1
    assert all(one.wait().succeeded for one in found)
    assert queue.status("again").attempt == 2


@pytest.fixture
def short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for the new attempt of a job only 0.2 seconds."""
    change_scripts(monkeypatch, "lib/interrupted_retry.sh", ("-lt 10", "-lt 1"))


@pytest.mark.usefixtures("short_wait")
def test_job_is_not_missing_while_it_is_retried(
    queue: tej.RemoteQueue,
    queue_path: Path,
    doubles: Doubles,
    job: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """The first retry archives and publishes one job after the other."""
    good = tmp_path / "good"
    directory = job(f"echo >>'{tmp_path}'/starts; [ -e '{good}' ]")
    specs = [tej.JobSpec(directory, job_id=name) for name in ("one", "two")]
    queue.ensure_many(specs)
    jobs = [queue.job(name) for name in ("one", "two")]
    assert [each.wait().exit_code for each in jobs] == [1, 1]
    good.touch()
    hold = doubles.hold("mv", before="*/new/two *")
    own = tej.RemoteQueue("local:", str(queue_path))
    with ThreadPoolExecutor() as pool:
        retry = pool.submit(own.ensure_many, specs, retry=True)
        try:
            hold.wait()
            found = queue.statuses(["one", "two"])
            listed = {each.job_id: each for each in queue.jobs()}
            with pytest.raises(tej.RemoteCommandFailure, match="being replaced"):
                queue.ensure(directory, job_id="two", retry=True)
        finally:
            hold.release()
    retry.result()
    assert [each.wait().exit_code for each in jobs] == [0, 0]
    assert found["one"] is not None
    assert not found["one"].state.final
    for status in (found["two"], listed["two"]):
        assert status is not None
        assert status.state is tej.JobState.CREATED
        assert "being replaced" in (status.note or "")
    assert len((tmp_path / "starts").read_text().splitlines()) == 4
