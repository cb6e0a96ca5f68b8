"""Clocks that differ or jump, and hosts without /proc: no running job is lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from clocks import pass_time, set_age
from facts import beat_of, time_of
from faults.faulty_servers import Clock, Host, Within, open_queue
from installer import change_scripts
from jobs import Gate, first_wrapper_of, is_alive, wait_until, wrappers_of

import tej
from tej import JobState, Resources

Start = Callable[[str], Host]
Make = Callable[..., Path]
Open = Callable[[str], tej.RemoteQueue]
HOUR = 3600


@pytest.fixture
def clock(require: Callable[[str], None], tmp_path: Path) -> Clock:
    """Return the clock of another login node."""
    require("faketime")
    return Clock(tmp_path / "clock")


@pytest.fixture
def login2(host: Start, clock: Clock, queue_path: Path) -> tej.RemoteQueue:
    """Return the queue, as used from a host that has `clock`."""
    transport = host("login2").login(clock.prefix)
    return open_queue(queue_path, transport)


@pytest.fixture
def facts(queue_path: Path) -> Path:
    """Return the directory with the facts of the job `there`."""
    return queue_path / "jobs/there"


@pytest.mark.parametrize("offset", [1200, -1200])
def test_login_nodes_clocks_twenty_minutes_apart(
    queue: tej.RemoteQueue,
    login2: tej.RemoteQueue,
    clock: Clock,
    facts: Path,
    job: Make,
    gate: Gate,
    offset: int,
) -> None:
    clock.set(offset)
    directory = job(f"echo >>'{gate.path}.starts'; {gate.wait}")
    login2.ensure(directory, job_id="there")
    seen = queue.status("there")
    assert (seen.state, seen.host) == (JobState.RUNNING, "login2")
    assert seen.seen is not None
    assert seen.seen < 900
    assert seen.duration is not None
    assert seen.duration < 900
    assert not queue.ensure(directory, job_id="there", retry=True).is_new
    with pytest.raises(tej.JobStillRunning):
        queue.delete("there")
    # The age of another host's upload or claim is the age of its files.
    (facts / "native_id").rename(facts / "hidden")
    (facts / "started").rename(facts / "begun")
    assert queue.status("there").state is JobState.CREATED
    (facts / "begun").rename(facts / "started")
    (facts / "hidden").rename(facts / "native_id")
    gate.open()
    wait_until(lambda: queue.status("there").succeeded, "the job has ended")
    assert len(Path(f"{gate.path}.starts").read_text()) == 1


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
@pytest.mark.usefixtures("impatient")
def test_clock_that_jumps_ends_no_job(
    queue: tej.RemoteQueue,
    login2: tej.RemoteQueue,
    clock: Clock,
    facts: Path,
    job: Make,
    gate: Gate,
    jump: int,
) -> None:
    limit = Resources(walltime="0:10:00")
    login2.submit("there", job(gate.wait), resources=limit)
    login2.submit("short", job(gate.wait), resources=Resources(walltime=4))
    before = beat_of(facts)
    clock.set(jump)
    wait_until(
        lambda: abs(beat_of(facts) - before - jump) < 600, "its clock has jumped"
    )
    for observer in (queue, login2):
        assert observer.status("there").state is JobState.RUNNING
    wait_until(lambda: login2.status("short").state.final, "the limit was reached")
    assert "time limit" in (login2.status("short").note or "")
    assert queue.status("there").state is JobState.RUNNING
    gate.open()
    wait_until(lambda: queue.status("there").succeeded, "the job has ended")


@pytest.fixture
def shorter_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the time until a heartbeat counts as missing to 200 seconds."""
    shorter = ("heartbeat_timeout=900 ", "heartbeat_timeout=200 ")
    change_scripts(monkeypatch, "lib/heartbeat.sh", shorter)


@pytest.mark.usefixtures("shorter_timeout")
def test_clock_jump_on_file_server_loses_nothing(
    queue: tej.RemoteQueue, login2: tej.RemoteQueue, facts: Path, job: Make, gate: Gate
) -> None:
    login2.submit("there", job(gate.wait))
    wait_until((facts / "started").exists, "the job is running")
    # Without stopped wrappers, the next heartbeat would have the current date.
    wrappers = wrappers_of(facts.parent.parent)
    for pid in wrappers:
        os.kill(pid, signal.SIGSTOP)
    for jump in (HOUR, -HOUR):
        set_age(jump, facts / "heartbeat")
        assert queue.status("there").state is JobState.RUNNING
        pass_time(facts, 60)
        assert queue.status("there").state is JobState.RUNNING
    # A heartbeat that is unchanged for long, by the uptime of the checking host, is too
    # old despite its date.
    pass_time(facts, 250)
    assert queue.status("there").state is JobState.LOST
    with (facts / "heartbeat").open("r+") as heartbeat:
        heartbeat.write("1700000000\n")
    # The file system may give both files the same date.
    later = (facts / "lost").stat().st_mtime + 1
    os.utime(facts / "heartbeat", (later, later))
    assert queue.status("there").state is JobState.RUNNING
    for pid in wrappers:
        os.kill(pid, signal.SIGCONT)
    gate.open()
    wait_until(lambda: queue.status("there").succeeded, "the job has ended")


def test_nothing_is_lost_while_queue_is_unwritable(
    queue: tej.RemoteQueue, login2: tej.RemoteQueue, facts: Path, job: Make, gate: Gate
) -> None:
    login2.submit("there", job(gate.wait))
    set_age(HOUR, facts / "heartbeat")
    # A directory instead of the file simulates a disk that cannot be written.
    facts.parent.joinpath(".clock").mkdir()
    for _ in range(2):
        assert queue.status("there").state is JobState.RUNNING
        pass_time(facts, 100)
    gate.open()
    wait_until(lambda: queue.status("there").succeeded, "the job has ended")


@pytest.mark.usefixtures("impatient")
def test_heartbeat_continues_after_wrapper_was_killed(
    queue: tej.RemoteQueue, login2: tej.RemoteQueue, facts: Path, job: Make, gate: Gate
) -> None:
    login2.submit("there", job(gate.wait))
    wrapper = first_wrapper_of(facts.parent.parent)
    os.kill(wrapper, signal.SIGKILL)
    wait_until(lambda: not is_alive(wrapper), "the wrapper is gone")
    before = beat_of(facts)
    wait_until(
        lambda: beat_of(facts) > before + 7, "the job is running after the timeout"
    )
    assert queue.status("there").state is JobState.RUNNING
    gate.open()
    wait_until((facts / "lost").exists, "the wrapper has recorded the end")
    ended = time_of(facts, "lost")
    status = queue.status("there")
    assert (status.state, int(status.ended.timestamp())) == (JobState.LOST, ended)
    assert abs(ended - beat_of(facts)) < 5


def test_unrecorded_end_has_time_of_last_heartbeat(
    queue: tej.RemoteQueue, host: Start, queue_path: Path, job: Make, gate: Gate
) -> None:
    login3 = host("login3")
    there = open_queue(queue_path, login3.transport)
    there.submit("there", job(gate.wait))
    login3.crash()
    facts = queue_path / "jobs/there"
    (facts / "heartbeat").write_text("1700000000\n")
    set_age(10_000, facts / "heartbeat")
    assert queue.status("there").state is JobState.RUNNING
    pass_time(facts)
    status = queue.status("there")
    assert status.state is JobState.LOST
    assert status.ended is not None
    assert int(status.ended.timestamp()) == 1_700_000_000


@pytest.fixture
def no_proc(require: Callable[[str], None], queue_path: Path) -> tej.RemoteQueue:
    """Return the queue, as used from a login with an empty /proc, where `ps` fails."""
    require("root")
    require("unshare")
    prefix = "unshare -m sh -c 'mount -t tmpfs none /proc && exec \"$@\"' sh"
    return open_queue(queue_path, Within(prefix))


@pytest.mark.usefixtures("impatient")
def test_job_without_proc_is_seen_and_killed(
    queue: tej.RemoteQueue, no_proc: tej.RemoteQueue, facts: Path, job: Make, gate: Gate
) -> None:
    no_proc.submit("there", job(gate.wait))
    for observer in (no_proc, queue):
        assert observer.status("there").state is JobState.RUNNING
        with pytest.raises(tej.JobStillRunning):
            observer.delete("there")
    no_proc.submit("ends", job("exit 7"))
    wait_until(lambda: no_proc.status("ends").exit_code == 7, "the job has ended")
    status = no_proc.kill("there", grace=2)
    assert (status.state, status.processes_left) == (JobState.KILLED, 0)
    assert not (facts / "lost").exists()


@pytest.mark.usefixtures("impatient")
def test_job_is_not_lost_for_login_without_proc(
    queue: tej.RemoteQueue, no_proc: tej.RemoteQueue, job: Make, gate: Gate
) -> None:
    queue.submit("here", job(gate.wait))
    assert no_proc.status("here").state is JobState.RUNNING
    assert no_proc.kill("here", grace=2).state is JobState.KILLED


@pytest.fixture
def only_ps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Return server scripts that identify processes by `ps`, as on macOS and the BSDs."""
    change = ("if [ -r /proc/self/stat ]", "if false")
    change_scripts(monkeypatch, "lib/process_identity.sh", change)


@pytest.mark.usefixtures("only_ps")
def test_ps_in_another_time_zone_identifies_process(
    queue: tej.RemoteQueue,
    facts: Path,
    job: Make,
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    queue.submit("there", job(gate.wait))
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    status = queue.status("there")
    assert (status.state, status.note) == (JobState.RUNNING, None)
    with pytest.raises(tej.JobStillRunning):
        queue.delete("there")
    status = queue.kill("there", grace=2)
    assert (status.state, status.processes_left) == (JobState.KILLED, 0)
