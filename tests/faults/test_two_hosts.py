"""Two hosts with one queue, like login nodes with a common home directory.

A pid of one host means nothing on the other host.  The hosts are namespaces of this
machine.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from clocks import set_age
from faults.faulty_servers import Doubles, Host, Within, open_queue
from jobs import Gate, is_alive, wait_until, wrappers_of

import tej
from tej import JobState

Start = Callable[[str], Host]
Make = Callable[..., Path]

SILENT = 6
"""Seconds after which `impatient` servers report jobs of a silent host as lost."""

pytestmark = pytest.mark.usefixtures("impatient")


@pytest.fixture
def login2(host: Start, queue_path: Path) -> tej.RemoteQueue:
    """Return the queue, as used from another host."""
    return open_queue(queue_path, host("login2").transport)


def test_other_host_reports_host_and_last_heartbeat(
    queue: tej.RemoteQueue, login2: tej.RemoteQueue, job: Make, gate: Gate
) -> None:
    login2.submit("there", job(gate.wait))
    status = queue.status("there")
    assert (status.state, status.host) == (JobState.RUNNING, "login2")
    assert status.seen is not None
    assert "on login2, last seen" in status.describe()
    own = login2.status("there")
    assert (own.state, own.seen) == (JobState.RUNNING, None)
    with pytest.raises(tej.JobStillRunning):
        queue.delete("there")
    gate.open()
    # On a busy machine, the job may be lost before its end is recorded.
    wait_until(lambda: queue.status("there").succeeded, "the job has ended")
    queue.delete("there")


def test_kill_from_other_host_acts_at_next_heartbeat(
    queue: tej.RemoteQueue, login2: tej.RemoteQueue, job: Make, gate: Gate
) -> None:
    login2.submit("there", job(gate.wait))
    status = queue.kill("there", grace=2)
    assert (status.state, status.processes_left) == (JobState.KILLED, 0)
    assert login2.status("there").state is JobState.KILLED


def test_kill_from_other_host_reaches_escaped_process(
    queue: tej.RemoteQueue, login2: tej.RemoteQueue, job: Make, gate: Gate
) -> None:
    deaf = f"trap '' TERM; echo deaf >deaf\n{gate.wait}\n"
    script = f"setsid sh ./deaf.sh & {gate.wait}"
    login2.submit("there", job(script, {"deaf.sh": deaf}))
    stage = Path(login2.status("there").directory)
    wait_until((stage / "deaf").exists, "the child ignores SIGTERM")
    status = queue.kill("there", grace=1)
    assert (status.state, status.processes_left) == (JobState.KILLED, 0)
    assert login2.status("there").processes_left == 0
    login2.delete("there")


def test_leftover_processes_on_other_host_are_reported(
    queue: tej.RemoteQueue,
    login2: tej.RemoteQueue,
    job: Make,
    gate: Gate,
    caplog: pytest.LogCaptureFixture,
) -> None:
    here = socket.gethostname()
    for name in ("left", "killed"):
        script = "setsid sh ./leaf & until [ -e begun ]; do sleep 0.05; done"
        queue.submit(name, job(script, {"leaf": f"touch begun\n{gate.wait}\n"}))
        queue.job(name).wait(60)
        assert login2.status(name).processes_left >= 1
    with pytest.raises(
        tej.JobStillRunning, match=f"processes that it left running on {here}"
    ):
        login2.kill("killed")
    outcome = queue.kill_many(["killed"])["killed"]
    assert outcome is not None
    assert (outcome.was, outcome.strays >= 1) == (JobState.FINISHED, True)
    assert outcome.status.processes_left == 0
    with pytest.raises(tej.JobStillRunning, match="kill it first"):
        queue.delete("left")
    assert caplog.messages == []
    login2.delete("left")
    (message,) = caplog.messages
    assert f"'left' was deleted; processes that it left running on {here}" in message
    login2.delete("killed")
    # The queue no longer knows this process, so no cleanup would end it.
    gate.open()


def test_host_never_signals_pids_of_other_host(
    queue: tej.RemoteQueue, login2: tej.RemoteQueue, job: Make, gate: Gate
) -> None:
    """Both hosts have a process with the recorded pid, but only one belongs to the job."""
    queue.submit("here", job(gate.wait))
    login2.submit("there", job(gate.wait, name="there"))
    queue.kill("there", grace=2)
    assert queue.status("here").state is JobState.RUNNING
    login2.kill("here", grace=2)
    assert queue.status("here").state is JobState.KILLED


def test_jobs_of_dead_host_are_lost_after_silence(
    queue: tej.RemoteQueue,
    host: Start,
    queue_path: Path,
    job: Make,
    gate: Gate,
) -> None:
    login3 = host("login3")
    there = open_queue(queue_path, login3.transport)
    there.submit("there", job(gate.wait))
    login3.crash()
    assert queue.status("there").state is JobState.RUNNING
    wait_until(lambda: queue.status("there").state.final, "the job is lost")
    status = queue.status("there")
    assert status.state is JobState.LOST
    assert "no sign of life from login3" in (status.evidence or "")
    queue.delete("there")


def test_abandoned_attempt_does_not_affect_next_attempt(
    queue: tej.RemoteQueue,
    login2: tej.RemoteQueue,
    queue_path: Path,
    job: Make,
    gate: Gate,
    tmp_path: Path,
) -> None:
    old = Gate(tmp_path / "old")
    directory = job(
        f"if [ $(uname -n) != login2 ]; then {old.wait}; exit 7; fi; {gate.wait}"
    )
    queue.ensure(directory, job_id="twice")
    wrappers = wrappers_of(queue_path)
    assert wrappers
    for pid in wrappers:
        os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: login2.status("twice").state is JobState.LOST, "the job is lost")
    assert login2.ensure(directory, job_id="twice", retry=True).is_new
    beat = queue_path / "jobs/twice/heartbeat"
    native = (queue_path / "jobs/twice/native_id").read_text()
    old.open()
    for pid in wrappers:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: login2.status("twice#1").exit_code == 7, "the old job has ended")
    status = login2.status("twice")
    assert (status.state, status.exit_code) == (JobState.RUNNING, None)
    assert (queue_path / "jobs/twice/native_id").read_text() == native
    assert beat.exists()
    gate.open()
    assert login2.job("twice").wait(60).succeeded


def test_job_that_waited_long_is_not_lost(
    queue: tej.RemoteQueue,
    login2: tej.RemoteQueue,
    doubles: Doubles,
    job: Make,
    gate: Gate,
    tmp_path: Path,
) -> None:
    queue.setup(max_running=1)
    queue.submit("first", job(gate.wait, name="first"))
    hold = doubles.hold("mv", after="*/native_id")
    second = Gate(tmp_path / "second")
    queue.submit("second", job(second.wait, name="second"))
    since = time.monotonic()
    wait_until(
        lambda: time.monotonic() - since > SILENT + 1, "the job has waited for long"
    )
    gate.open()
    hold.wait()
    status = login2.status("second")
    hold.release()
    assert not status.state.final, status
    second.open()
    assert queue.job("second").wait(60).succeeded


def test_host_that_returns_makes_job_running(
    queue: tej.RemoteQueue,
    login2: tej.RemoteQueue,
    queue_path: Path,
    job: Make,
    gate: Gate,
) -> None:
    login2.submit("there", job(gate.wait))
    beat = queue_path / "jobs/there/heartbeat"
    set_age(10**8, beat)
    assert queue.status("there").state in (JobState.LOST, JobState.RUNNING)
    gate.open()
    wait_until(
        lambda: queue.status("there").succeeded, "the recorded end takes precedence"
    )


def test_upload_from_other_host_is_not_collected(
    queue: tej.RemoteQueue, login2: tej.RemoteQueue, queue_path: Path, job: Make
) -> None:
    queue.submit("first", job("true"))
    room = queue_path / "incoming/feed.1"
    room.mkdir()
    (room / ".owner").write_text("login2 boot space 1 1\n")
    login2.submit("second", job("true"))
    # The upload may send nothing for minutes.
    set_age(300, room / ".owner", room)
    queue.submit("third", job("true"))
    assert room.exists()
    for path in (room / ".owner", room):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    queue.submit("fourth", job("true"))
    assert not room.exists()


def test_rebooted_host_ignores_reused_pids(
    queue: tej.RemoteQueue, host: Start, queue_path: Path, job: Make, gate: Gate
) -> None:
    before = host("login4")
    there = open_queue(queue_path, before.transport)
    there.submit("there", job(gate.wait))
    before.crash()
    after = host("login4")
    there = open_queue(queue_path, after.transport)
    assert there.status("there").state in (JobState.RUNNING, JobState.LOST)
    wait_until(lambda: there.status("there").state is JobState.LOST, "the job is lost")
    there.kill("there")
    assert is_alive(after.pid)
    there.delete("there")


def test_host_of_any_name_is_one_word(require: Callable[[str], None]) -> None:
    require("root")
    require("unshare")
    script = """
        . "$1"
        is_number() { :; }
        show() { host=''; get_host; printf '%s\n' "$host $boot $space"; }
        show
        printf 'my host\n' >/proc/sys/kernel/hostname
        show
        # Then /proc shows neither the host name nor the boot.
        mount -t proc -o subset=pid proc /proc
        show
    """
    file = Path(tej.__file__).with_name("server") / "lib/process_identity.sh"
    words = ["unshare", "--uts", "--mount", "sh", "-c", script, "sh", str(file)]
    lines = subprocess.check_output(words, text=True).splitlines()
    _, boot, space = lines[0].split()
    assert lines[1:] == [f"my-host {boot} {space}", f"my-host - {space}"]


def test_logins_with_equal_pids_create_one_queue(
    doubles: Doubles, queue_path: Path, require: Callable[[str], None]
) -> None:
    for part in ("root", "unshare"):
        require(part)
    # In such containers, the shell of each request has the pid 1.
    container = Within("unshare --pid --fork --mount-proc")
    hold = doubles.hold("mkdir", after="*incoming/scripts.*")
    first, second = (open_queue(queue_path, container) for _ in range(2))
    with ThreadPoolExecutor(1) as executor:
        setup = executor.submit(first.setup)
        hold.wait()
        try:
            second.setup()
        finally:
            hold.release()
        setup.result()
    assert first.jobs() == second.jobs() == []
    assert list(queue_path.glob("incoming/*")) == []
