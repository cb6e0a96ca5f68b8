"""Kill: ends all processes of a job and no other process, and records the cause."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from clocks import expire_heartbeat, pass_time, set_age
from facts import script_of, set_word, wrapper_of
from jobs import Gate, is_alive, wait_until, wait_until_ended, wait_until_started

import tej
from tej import JobState

Make = Callable[..., Path]


class Pids:
    """The pids that the processes of a job write to a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.touch()

    def __call__(self, count: int) -> list[int]:
        wait_until(
            lambda: len(self.path.read_text().splitlines()) >= count,
            f"{count} pids are known",
        )
        return [int(line) for line in self.path.read_text().split()]


@pytest.fixture
def pids(tmp_path: Path) -> Pids:
    return Pids(tmp_path / "pids")


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """Start a process of the same user that does not belong to a job."""
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True
    ) as process:
        yield process
        process.kill()


def facts(queue_path: Path, job_id: str, name: str) -> Path:
    return queue_path / "jobs" / job_id / name


def test_kill_ends_job_and_records_requester(
    queue: tej.RemoteQueue, waiting: str
) -> None:
    status = queue.kill(waiting)
    assert status.state is JobState.KILLED
    assert status.processes_left == 0
    assert status.killed_by == status.submitter
    again = queue.status(waiting)
    assert again.state is JobState.KILLED
    assert again.ended == status.ended
    assert re.match(
        r"Job was killed \(0:\d\d\) by \S+@\S+ at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d",
        again.describe(),
    )


def test_kill_reaches_all_descendants(
    queue: tej.RemoteQueue, job: Make, gate: Gate, pids: Pids
) -> None:
    files = {
        "note": f"#!/bin/sh\nprintf '%s\\n' $PPID >>'{pids.path}'\n",
        "leaf": f"#!/bin/sh\n./note\n{gate.wait}\n",
        "branch": "#!/bin/sh\n./note\n./leaf\ntrue\n",
    }
    script = "chmod +x note leaf branch\n./note\n./branch &\n./leaf &\nwait"
    queue.submit("family", job(script, files))
    members = pids(4)
    assert all(map(is_alive, members))
    queue.kill("family")
    assert [pid for pid in members if is_alive(pid)] == []


def test_kill_stops_a_job_of_one_command(
    queue: tej.RemoteQueue, job: Make, tmp_path: Path
) -> None:
    queue.submit("single", job(), "exec sleep 1000")
    pid = script_of(Path(queue.status("single").directory.parent))
    assert is_alive(pid)
    assert queue.kill("single").state is JobState.KILLED
    assert not is_alive(pid)


def test_sigkill_follows_ignored_sigterm(
    queue: tej.RemoteQueue, job: Make, gate: Gate
) -> None:
    queue.submit("deaf", job(f"trap '' TERM; echo deaf; {gate.wait}"))
    directory = Path(queue.status("deaf").directory)
    wait_until(
        lambda: (directory / "_stdout").read_text() == "deaf\n", "SIGTERM is ignored"
    )
    assert queue.kill("deaf", grace=1).state is JobState.KILLED


def test_killed_job_may_clean_up(queue: tej.RemoteQueue, job: Make, gate: Gate) -> None:
    script = f"trap 'echo cleaned; exit 9' TERM; echo begun; {gate.wait}"
    queue.submit("tidy", job(script))
    output = Path(queue.status("tidy").directory, "_stdout")
    wait_until(lambda: output.read_text() == "begun\n", "the trap is set")
    status = queue.kill("tidy", grace=60)
    assert output.read_text() == "begun\ncleaned\n"
    assert (status.state, status.exit_code) == (JobState.KILLED, 9)


def test_stopped_job_can_be_killed(
    queue: tej.RemoteQueue, waiting: str, queue_path: Path
) -> None:
    pid = script_of(queue_path / "jobs" / waiting)
    os.kill(pid, signal.SIGSTOP)
    assert queue.kill(waiting, grace=30).state is JobState.KILLED
    assert not is_alive(pid)


def test_kill_does_not_change_ended_job(queue: tej.RemoteQueue, ended: str) -> None:
    before = queue.status(ended)
    after = queue.kill(ended)
    assert after == before
    outcome = queue.kill_many([ended])[ended]
    assert outcome is not None
    assert outcome.was is JobState.FINISHED


def test_kill_of_missing_job_is_an_error(queue: tej.RemoteQueue, ended: str) -> None:
    with pytest.raises(tej.JobNotFound, match="No job 'absent'"):
        queue.kill("absent")


def test_several_jobs_are_killed_in_one_request(
    queue: tej.RemoteQueue, queue_path: Path, job: Make, gate: Gate
) -> None:
    directory = job(gate.wait)
    for name in ("one", "two"):
        queue.submit(name, directory)
    wait_until_started(queue_path, "one", "two")
    outcomes = queue.kill_many(["one", "absent", "two"])
    assert list(outcomes) == ["one", "absent", "two"]
    assert outcomes["absent"] is None
    for name in ("one", "two"):
        outcome = outcomes[name]
        assert outcome is not None
        assert outcome.was is JobState.RUNNING
        assert outcome.status.state is JobState.KILLED


def test_kill_crash_and_exit_143_are_distinguished(
    queue: tej.RemoteQueue, job: Make, waiting: str
) -> None:
    queue.submit("plain", job("exit 143", name="plain"))
    queue.submit("crashed", job("kill -s TERM $$", name="crashed"))
    queue.kill(waiting)
    wait_until(
        lambda: all(status.state.final for status in queue.jobs()),
        "all jobs have ended",
    )
    seen = {
        status.job_id: (status.state, status.exit_code, status.signal)
        for status in queue.jobs()
    }
    assert seen["plain"] == (JobState.FINISHED, 143, None)
    assert seen["crashed"] == (JobState.FINISHED, None, 15)
    assert seen[waiting][0] is JobState.KILLED


def test_leftover_process_is_reported_and_killed(
    queue: tej.RemoteQueue, job: Make, gate: Gate, pids: Pids
) -> None:
    leaf = f"#!/bin/sh\necho $$ >>'{pids.path}'\n{gate.wait}\n"
    script = f"chmod +x leaf; ./leaf >/dev/null 2>&1 & until [ -s '{pids.path}' ]; do sleep 0.05; done"
    queue.submit("leaver", job(script, {"leaf": leaf}))
    (pid,) = pids(1)
    wait_until_ended(queue, "leaver")
    status = queue.status("leaver")
    assert status.state is JobState.FINISHED
    assert status.processes_left >= 1
    assert "left" in status.describe()
    assert is_alive(pid)
    with pytest.raises(tej.JobStillRunning, match=r"its processes|kill it first"):
        queue.delete("leaver")
    with pytest.raises(tej.JobStillRunning):
        queue.cleanup()
    after = queue.kill("leaver")
    assert not is_alive(pid)
    assert (after.state, after.exit_code) == (JobState.FINISHED, 0)
    assert queue.status("leaver").processes_left == 0
    queue.delete("leaver")


def test_ended_leftover_process_is_ignored(
    queue: tej.RemoteQueue, job: Make, gate: Gate
) -> None:
    queue.submit("leaver", job(f"({gate.wait}) >/dev/null 2>&1 &"))
    wait_until_ended(queue, "leaver")
    assert queue.status("leaver").processes_left >= 1
    gate.open()
    wait_until(lambda: queue.status("leaver").processes_left == 0, "nothing is left")
    queue.delete("leaver")


def test_kill_spares_jobs_submitted_by_job(
    local_queue: tej.RemoteQueue, job: Make, gate: Gate, queue_path: Path
) -> None:
    inner = job(gate.wait, name="inner")
    code = f"import tej; tej.RemoteQueue('local:', {str(queue_path)!r}).submit('inner', {str(inner)!r})"
    local_queue.submit(
        "outer",
        job(
            f"'{sys.executable}' submit.py && {gate.wait}",
            {"submit.py": f"import sys; sys.path[:0] = {sys.path!r}\n{code}\n"},
            name="outer",
        ),
    )
    wait_until(
        lambda: local_queue.statuses(["inner"])["inner"] is not None, "inner is there"
    )
    wait_until(
        lambda: local_queue.status("inner").state is JobState.RUNNING, "inner runs"
    )
    assert local_queue.kill("outer").state is JobState.KILLED
    assert local_queue.status("inner").state is JobState.RUNNING


# Reused pids


def test_kill_spares_stranger_with_reused_pid(
    queue: tej.RemoteQueue,
    waiting: str,
    queue_path: Path,
    stranger: subprocess.Popen[bytes],
    gate: Gate,
) -> None:
    folder = queue_path / "jobs" / waiting
    wrapper, leader = wrapper_of(folder), script_of(folder)
    # Simulate that both pids now belong to unrelated processes.
    for pid in (wrapper, leader):
        os.kill(pid, signal.SIGKILL)
    gate.open()
    wait_until(
        lambda: not is_alive(wrapper) and not is_alive(leader),
        "both processes are gone",
    )
    wait_until(
        lambda: queue.status(waiting).state is JobState.LOST, "its processes are gone"
    )
    set_word(folder, "native_id", 4, str(stranger.pid))
    set_word(folder, "started", 2, str(stranger.pid))
    assert queue.status(waiting).state is JobState.LOST
    queue.kill(waiting)
    assert stranger.poll() is None
    assert is_alive(stranger.pid)
    queue.delete(waiting)
    assert is_alive(stranger.pid)


def test_job_without_wrapper_can_be_killed(
    queue: tej.RemoteQueue, waiting: str, queue_path: Path
) -> None:
    wrapper = wrapper_of(queue_path / "jobs" / waiting)
    leader = script_of(queue_path / "jobs" / waiting)
    os.kill(wrapper, signal.SIGKILL)
    wait_until(lambda: not is_alive(wrapper), "the wrapper is gone")
    status = queue.status(waiting)
    assert status.state is JobState.RUNNING
    assert "wrapper is gone" in (status.note or "")
    with pytest.raises(tej.JobStillRunning):
        queue.delete(waiting)
    assert queue.kill(waiting).state is JobState.KILLED
    assert not is_alive(leader)
    queue.delete(waiting)


def test_dead_job_is_lost_and_removable(
    queue: tej.RemoteQueue, waiting: str, queue_path: Path, gate: Gate
) -> None:
    wrapper = wrapper_of(queue_path / "jobs" / waiting)
    leader = script_of(queue_path / "jobs" / waiting)
    for pid in (wrapper, leader):
        os.kill(pid, signal.SIGKILL)
    gate.open()
    wait_until(
        lambda: not is_alive(wrapper) and not is_alive(leader),
        "both processes are gone",
    )
    wait_until_ended(queue, waiting)
    status = queue.status(waiting)
    assert status.state is JobState.LOST
    assert "wrapper" in (status.evidence or "")
    assert status.describe().startswith("Job is lost: ")
    assert queue.status(waiting).state is JobState.LOST
    assert queue.kill(waiting).state is JobState.LOST
    queue.delete(waiting)
    assert queue.jobs() == []


def test_job_of_earlier_boot_is_lost(
    queue: tej.RemoteQueue, queue_path: Path, ended: str
) -> None:
    facts(queue_path, ended, "finished").unlink()
    boot = "00000000-0000-0000-0000-000000000000"
    set_word(queue_path / "jobs" / ended, "native_id", 2, boot)
    set_age(10**9, facts(queue_path, ended, "heartbeat"))
    status = queue.status(ended)
    assert status.state is JobState.LOST
    assert "restarted" in (status.evidence or "")
    queue.delete(ended)


def test_recorded_end_takes_precedence_over_lost(
    queue: tej.RemoteQueue, queue_path: Path, ended: str
) -> None:
    facts(queue_path, ended, "lost").write_text("1700000000 nobody has seen it\n")
    assert queue.status(ended).succeeded


def test_other_host_uses_the_heartbeat(
    queue: tej.RemoteQueue, waiting: str, queue_path: Path
) -> None:
    native = facts(queue_path, waiting, "native_id")
    honest = native.read_text()
    set_word(queue_path / "jobs" / waiting, "native_id", 1, "login9")
    status = queue.status(waiting)
    assert (status.state, status.host) == (JobState.RUNNING, "login9")
    assert status.seen is not None
    assert "on login9, last seen" in status.describe()
    expire_heartbeat(native.parent)
    assert queue.status(waiting).state is JobState.RUNNING
    pass_time(native.parent)
    silent = queue.status(waiting)
    assert silent.state is JobState.LOST
    assert "login9" in (silent.evidence or "")
    # On a fast machine, both files would have the same time, which has steps of 4 ms.
    set_age(1, facts(queue_path, waiting, "lost"))
    with facts(queue_path, waiting, "heartbeat").open("r+") as heartbeat:
        heartbeat.write("1000000000\n")
    assert queue.status(waiting).state is JobState.RUNNING
    native.write_text(honest)
    assert queue.status(waiting).state is JobState.RUNNING


def test_retry_is_refused_while_processes_are_left(
    local_queue: tej.RemoteQueue, job: Make, gate: Gate
) -> None:
    directory = job(f"({gate.wait}) >/dev/null 2>&1 & exit 3")
    local_queue.ensure(directory, job_id="again")
    wait_until_ended(local_queue, "again")
    with pytest.raises(tej.JobStillRunning, match="some of its processes run"):
        local_queue.ensure(directory, job_id="again", retry=True)
    local_queue.kill("again", grace=0)
    job = local_queue.ensure(directory, job_id="again", retry=True)
    assert job.status().attempt == 2
    wait_until(lambda: job.status().state.final, "the job has failed again")
    job.kill(grace=0)


def test_attempt_with_processes_left_is_not_removed(
    local_queue: tej.RemoteQueue, queue_path: Path, job: Make, gate: Gate
) -> None:
    local_queue.ensure(job(f"({gate.wait}) >/dev/null 2>&1 & exit 3"), job_id="again")
    wait_until_ended(local_queue, "again")
    # Earlier versions of tej archived an attempt although its processes still ran.
    attempts = queue_path / "attempts/again"
    (attempts / "1").mkdir(parents=True)
    (attempts / "last").write_text("1\n")
    (queue_path / "jobs/again").rename(attempts / "1/job")
    local_queue.submit("again", job("exit 3"))
    wait_until_ended(local_queue, "again")
    assert local_queue.status("again#1").processes_left
    with pytest.raises(tej.JobStillRunning, match="attempt 'again#1'"):
        local_queue.delete("again")
    with pytest.raises(tej.JobStillRunning, match="again#1"):
        local_queue.cleanup()
    local_queue.kill("again#1", grace=0)
    local_queue.delete("again")
