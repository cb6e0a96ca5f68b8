"""The server's shell dies by SIGKILL at each step of a request.

The steps are detected from outside: a directory appears, or a double of a program is
called.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest
from facts import wrapper_of
from faults.conftest import Victim
from faults.faulty_servers import Doubles, Hold
from installer import change_scripts
from jobs import (
    Gate,
    first_wrapper_of,
    is_alive,
    processes_of,
    wait_until,
    wait_until_ended,
)

import tej
from tej import JobState, Retries

Make = Callable[..., Path]
HOPELESS = Retries(limit=1)


@contextlib.contextmanager
def doing(work: Callable[[], object]) -> Iterator[Future[object]]:
    """Run a function in a thread; its result is available at the end of the block."""
    result: Future[object] = Future()

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as error:
            result.set_exception(error)

    thread = threading.Thread(target=run)
    thread.start()
    yield result
    thread.join(120)
    assert not thread.is_alive(), "it hangs"


def kill_shell(owner: Path, field: int = 3) -> None:
    """Kill the shell that a fact identifies; the words are HOST BOOT SPACE PID START."""
    wait_until(lambda: owner.exists() and owner.read_text().endswith("\n"), str(owner))
    pid = int(owner.read_text().split()[field])
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(pid), "the process is gone")


def shell_of_the_room(queue_path: Path) -> None:
    """Kill the shell that receives an upload."""
    wait_until(
        lambda: list(queue_path.glob("incoming/*/.owner")),
        "the upload directory exists",
    )
    (owner,) = queue_path.glob("incoming/*/.owner")
    kill_shell(owner)


def shell_of_the_job(queue_path: Path) -> None:
    """Kill the shell that has published the job."""
    kill_shell(queue_path / "jobs/victim/submitted", field=4)


# For each step: the program that is held, the time, and the process to kill.
PUBLISH = "*incoming*jobs/victim"
STEPS: dict[str, tuple[str, dict[str, str], Callable[[Path], None]]] = {
    "while the upload is unpacked": ("tar", {"before": "*"}, shell_of_the_room),
    "after the upload is unpacked": ("tar", {"after": "*"}, shell_of_the_room),
    "before the job is published": ("mv", {"before": PUBLISH}, shell_of_the_room),
    "when the job is published": ("mv", {"after": PUBLISH}, shell_of_the_job),
    "before the wrapper is started": (
        "setsid",
        {"before": "*run_detached.sh*"},
        shell_of_the_job,
    ),
    "before the wrapper writes native_id": (
        "mv",
        {"before": "*native_id"},
        shell_of_the_job,
    ),
    "when the wrapper has written native_id": (
        "mv",
        {"after": "*native_id"},
        shell_of_the_job,
    ),
    "before the script is started": (
        "setsid",
        {"before": "*exec_job.sh*"},
        shell_of_the_job,
    ),
}


@pytest.mark.parametrize("step", STEPS)
def test_server_death_during_submit_is_repaired_by_client(
    step: str,
    queue: tej.RemoteQueue,
    queue_path: Path,
    victim: Victim,
    doubles: Doubles,
) -> None:
    queue.setup()
    program, when, kill = STEPS[step]
    hold = doubles.hold(program, **when)
    with doing(lambda: queue.submit(victim.id, victim.directory)) as submission:
        hold.wait()
        kill(queue_path)
        hold.release()
    assert submission.result() == victim.id
    victim.check(queue)


@pytest.mark.parametrize("step", STEPS)
def test_death_of_both_sides_leaves_true_status(
    step: str,
    queue: tej.RemoteQueue,
    queue_path: Path,
    victim: Victim,
    doubles: Doubles,
) -> None:
    """The client does not return; another client finds the remains of the request."""
    queue.setup()
    program, when, kill = STEPS[step]
    hold = doubles.hold(program, **when)
    dying = tej.RemoteQueue("local:", str(queue_path), "default", retries=HOPELESS)
    with doing(lambda: dying.submit(victim.id, victim.directory)) as submission:
        hold.wait()
        kill(queue_path)
        # The status must still be true after the held program continues.
        early = queue.statuses([victim.id])[victim.id]
        hold.release()
    with pytest.raises(tej.ConnectionFailed):
        submission.result()
    wait_until(lambda: not doubles.busy, "the held program has ended")
    wait_until(lambda: is_settled(queue), "the job has ended or does not exist")
    found = queue.statuses([victim.id])[victim.id]
    if early is not None and early.state.final:
        assert found == early
    if found is not None and found.state is JobState.LOST:
        wait_until(lambda: not processes_of(queue_path), "no process is left")
        assert victim.starts == 0
        queue.delete(victim.id)
    victim.check(queue)


def is_settled(queue: tej.RemoteQueue) -> bool:
    """Return whether the victim has ended or does not exist."""
    found = queue.statuses([Victim.id])[Victim.id]
    return found is None or found.state.final


def test_returning_client_does_not_change_lost_state(
    queue: tej.RemoteQueue, queue_path: Path, victim: Victim, doubles: Doubles
) -> None:
    """The wrapper is dead, and another client has recorded that the job is lost.

    Then the submission is repeated: one job must exist, and its state must be true.
    """
    queue.setup()
    hold = doubles.hold("mv", after=PUBLISH)
    may_return = threading.Event()

    class Slow(Retries):
        def pause(self, tries: int) -> None:
            may_return.wait(60)

    slow = tej.RemoteQueue("local:", str(queue_path), "default", retries=Slow(limit=2))
    with doing(lambda: slow.submit(victim.id, victim.directory)) as submission:
        hold.wait()
        shell_of_the_job(queue_path)
        assert queue.status(victim.id).state is JobState.LOST
        hold.release()
        may_return.set()
    assert submission.result() == victim.id
    victim.check(queue)


@pytest.mark.usefixtures("impatient")
def test_server_death_during_delete_leaves_no_partial_job(
    queue: tej.RemoteQueue, queue_path: Path, victim: Victim, doubles: Doubles
) -> None:
    # A job with `on_end` is claimed by a rename, and another job by a new file.
    for on_end, program, when in (
        ("true", "mv", {"before": "*jobs/victim/spec *"}),
        ("true", "mv", {"after": "*jobs/victim/spec *"}),
        (None, "mv", {"before": "*jobs/victim *incoming*"}),
        (None, "mv", {"after": "*jobs/victim *incoming*"}),
        (None, "rm", {"before": "*incoming/away*"}),
    ):
        queue.submit(victim.id, victim.directory, "true", on_end=on_end)
        wait_until_ended(queue, victim.id)
        hold = doubles.hold(program, **when)
        with doing(lambda: queue.delete(victim.id)) as deletion:
            hold.wait()
            kill_caller(hold)
            found = queue.statuses([victim.id])[victim.id]
            assert found is None or found.state is JobState.FINISHED
            hold.release()
        assert deletion.result() is None
        doubles.remove(program)
        hold.forget()
        assert queue.statuses([victim.id]) == {victim.id: None}
    queue.submit("next", victim.directory, "true")
    wait_until(lambda: list(queue_path.glob("incoming/*")) == [], "all is swept")


@pytest.mark.usefixtures("impatient")
def test_server_death_during_cleanup_leaves_no_partial_job(
    queue: tej.RemoteQueue,
    queue_path: Path,
    victim: Victim,
    doubles: Doubles,
) -> None:
    dying = tej.RemoteQueue("local:", str(queue_path), "default", retries=HOPELESS)
    for part in ("jobs/*/spec", "scripts/*/runtimes"):
        queue.submit(victim.id, victim.directory, "true")
        wait_until_ended(queue, victim.id)
        # The removal of the files dies in the middle.
        doubles.add(
            "rm",
            f"found=$(find '{queue_path}' -path '*/{part}')\n"
            f"""case "$found:$*" in ?*:*{part.split("/")[0]}*)
            "$real" -rf $found; kill -9 $PPID; exit ;; esac\n"""
            'exec "$real" "$@"',
        )
        with pytest.raises(tej.ConnectionFailed):
            dying.cleanup()
        doubles.remove("rm")
        found = queue.statuses([victim.id])[victim.id]
        assert found is None or found.state is JobState.FINISHED
        assert queue.cleanup()
        assert not queue_path.exists()


def test_death_of_both_sides_during_retry_keeps_the_job(
    queue: tej.RemoteQueue, queue_path: Path, victim: Victim, doubles: Doubles
) -> None:
    queue.submit(victim.id, victim.directory, "exit 3")
    wait_until_ended(queue, victim.id)
    dying = tej.RemoteQueue("local:", str(queue_path), "default", retries=HOPELESS)
    hold = doubles.hold("mv", before=PUBLISH)
    with doing(
        lambda: dying.ensure(victim.directory, job_id=victim.id, retry=True)
    ) as retry:
        hold.wait()
        assert "being replaced" in (queue.status(victim.id).note or "")
        kill_caller(hold)
        doubles.remove("mv")
        assert [one.exit_code for one in queue.jobs()] == [3]
        assert queue.attempts(victim.id) == []
        # The held `mv` would publish the new attempt inside the restored job.
        shutil.rmtree(next(queue_path.glob("incoming/*")))
        hold.release()
    with pytest.raises(tej.ConnectionFailed):
        retry.result()
    queue.ensure(victim.directory, job_id=victim.id, retry=True)
    assert queue.job(victim.id).wait().succeeded
    assert [one.exit_code for one in queue.attempts(victim.id)] == [3]


@pytest.fixture
def short_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the time in which a wrapper must start to one second."""
    change_scripts(monkeypatch, "commands/submit", ("native_id 15", "native_id 1"))


@pytest.mark.usefixtures("short_start")
def test_failed_retry_keeps_the_job(
    queue: tej.RemoteQueue, victim: Victim, doubles: Doubles
) -> None:
    queue.submit(victim.id, victim.directory, "exit 3")
    wait_until_ended(queue, victim.id)
    real = 'case "$*" in *run_detached.sh*) exit 1 ;; esac; exec "$real" "$@"'
    doubles.add("setsid", real)
    with pytest.raises(tej.RemoteCommandFailure, match="could not be started again"):
        queue.ensure(victim.directory, job_id=victim.id, retry=True)
    assert queue.status(victim.id).exit_code == 3
    doubles.remove("setsid")
    queue.ensure(victim.directory, job_id=victim.id, retry=True)
    assert queue.job(victim.id).wait().succeeded
    assert [one.exit_code for one in queue.attempts(victim.id)] == [3]


def kill_caller(hold: Hold) -> None:
    """Kill the shell that waits for the held program."""
    pid = hold.shell
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(pid), "the process is gone")


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("program", "when"),
    [
        ("mv", {"before": "*kill"}),
        ("mv", {"after": "*kill"}),
        ("grep", {"before": "*TEJ_JOB_TOKEN*"}),
    ],
)
def test_server_death_during_kill_is_repaired_by_client(
    program: str,
    when: dict[str, str],
    queue: tej.RemoteQueue,
    queue_path: Path,
    job: Make,
    gate: Gate,
    doubles: Doubles,
) -> None:
    queue.submit("victim", job(gate.wait))
    hold = doubles.hold(program, **when)
    with doing(lambda: queue.kill("victim", grace=5)) as kill:
        hold.wait()
        kill_caller(hold)
        assert queue.status("victim").state in (JobState.RUNNING, JobState.KILLED)
        hold.release()
    status = kill.result()
    assert isinstance(status, tej.JobStatus)
    assert status.state is JobState.KILLED
    wait_until(lambda: not processes_of(queue_path), "no process is left")


@pytest.mark.parametrize(
    ("program", "when"),
    [
        ("mkdir", {"before": "*incoming/scripts.*"}),
        ("mkdir", {"after": "*scripts.*commands"}),
        ("mv", {"before": "*scripts*"}),
        ("mv", {"after": "*scripts*"}),
        ("ln", {"before": "*version*"}),
        ("ln", {"after": "*version*"}),
    ],
)
def test_server_death_during_setup_is_repaired_by_client(
    program: str,
    when: dict[str, str],
    queue: tej.RemoteQueue,
    queue_path: Path,
    victim: Victim,
    doubles: Doubles,
) -> None:
    hold = doubles.hold(program, **when)
    with doing(lambda: queue.submit(victim.id, victim.directory)) as submission:
        hold.wait()
        kill_caller(hold)
        hold.release()
    assert submission.result() == victim.id
    # These scripts have no owner any more, but tej removes them only when they are old.
    for half in queue_path.glob("incoming/scripts.*"):
        shutil.rmtree(half)
    victim.check(queue)


def test_server_death_during_download_repeats_the_request(
    queue: tej.RemoteQueue, victim: Victim, doubles: Doubles, tmp_path: Path
) -> None:
    queue.submit(victim.id, victim.directory)
    hold = doubles.hold("tar", before="-cf*", after="/")
    with doing(
        lambda: queue.download(victim.id, "data", directory=tmp_path / "out")
    ) as download:
        hold.wait()
        kill_caller(hold)
        hold.release()
    assert download.result() == [tmp_path / "out/data"]
    assert (tmp_path / "out/data").read_bytes() == victim.data


@pytest.mark.usefixtures("impatient")
def test_heartbeats_of_many_jobs_outlive_other_shells(
    queue: tej.RemoteQueue, queue_path: Path, job: Make, gate: Gate
) -> None:
    directory = job(gate.wait)
    queue.submit_many(tej.JobSpec(directory, job_id=name) for name in "abc")
    facts = {name: queue_path / "jobs" / name for name in "abc"}

    def check_heartbeats(*names: str) -> None:
        for name in names:
            (facts[name] / "heartbeat").unlink()
        wait_until(
            lambda: all((facts[name] / "heartbeat").exists() for name in names),
            "each heartbeat is written again",
        )

    check_heartbeats(*"abc")
    wrappers = {name: wrapper_of(facts[name]) for name in "abc"}
    for pid in (first_wrapper_of(queue_path), wrappers["a"]):
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda pid=pid: not is_alive(pid), "the shell is gone")
    # Job a has no wrapper any more, but its script runs.
    check_heartbeats(*"abc")
    # A client on another host requests a kill.
    (facts["b"] / "kill").write_text("1700000000 0 somebody\n")
    wait_until_ended(queue, "b")
    assert queue.status("b").state is JobState.KILLED
    gate.open()
    assert queue.job("c").wait(60).succeeded
    assert queue.job("a").wait(60).state is JobState.LOST


@pytest.mark.parametrize("when", ["before", "after"])
def test_death_while_many_are_published_loses_none(
    when: str,
    queue: tej.RemoteQueue,
    queue_path: Path,
    job: Make,
    doubles: Doubles,
    tmp_path: Path,
) -> None:
    queue.setup()
    directory = job(f"echo started >>'{tmp_path}/starts'")
    specs = [tej.JobSpec(directory, job_id=name) for name in "ab"]
    hold = doubles.hold("mv", **{when: "*incoming*/new/*jobs/"})
    with doing(lambda: queue.submit_many(specs)) as submission:
        hold.wait()
        if when == "after":
            kill_shell(queue_path / "jobs/a/submitted", field=4)
        else:
            shell_of_the_room(queue_path)
        hold.release()
    submission.result()
    assert all(status.succeeded for status in queue.wait(["a", "b"]).values())
    assert (tmp_path / "starts").read_text() == "started\n" * 2


def test_concurrent_submit_wins_against_many_jobs(
    queue: tej.RemoteQueue, queue_path: Path, job: Make, doubles: Doubles
) -> None:
    queue.setup()
    directory = job("true")
    hold = doubles.hold("mv", before="*incoming*/new/*jobs/")
    specs = [tej.JobSpec(directory, job_id=name) for name in "ab"]
    with doing(lambda: queue.ensure_many(specs)) as submission:
        hold.wait()
        doubles.remove("mv")
        assert tej.RemoteQueue("local:", str(queue_path)).ensure(directory, job_id="a")
        hold.release()
    outcomes = submission.result()
    assert [one.is_new for one in outcomes] == [False, True]
    assert all(status.succeeded for status in queue.wait(["a", "b"]).values())
