"""Difficult kills: processes that hide, resist or have just started."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from facts import script_of, wrapper_of
from faults.clients import Client, continue_together
from faults.faulty_servers import Doubles, Within, open_queue
from jobs import (
    Gate,
    is_alive,
    processes_of,
    wait_until,
    wait_until_started,
    wrappers_of,
)

import tej
from tej import JobState
from tej.queue.kill_request import why_alive

Make = Callable[..., Path]

DEAF = "trap '' TERM HUP INT"
# Ways to escape a kill of a single process or process group.
HIDES = {
    "a session of its own": "setsid sh leaf &",
    "a double fork": "(setsid sh leaf & ) &",
    "a fork in a fork in a fork": "( ( ( setsid sh leaf & ) & ) & ) &",
    "a group of its own": "set -m; sh leaf & set +m",
    "an ignored SIGTERM": f"{DEAF}; sh leaf &",
    "a session of its own and an ignored SIGTERM": f"( {DEAF}; setsid sh leaf & ) &",
    "a scrubbed environment": "env -i sh leaf &",
    "nohup": "nohup sh leaf >/dev/null 2>&1 &",
}


def leaf(job: Make, script: str, gate: Gate) -> Path:
    """Return a job whose script starts `sh leaf`, which records its pid."""
    text = f"echo $$ >pid.new; mv pid.new pid; {gate.wait}\n"
    return job(f"PATH=$PATH:/usr/bin:/bin; {script}\n{gate.wait}", {"leaf": text})


def pid_of_leaf(queue: tej.RemoteQueue, job_id: str) -> int:
    """Return the pid of the leaf process once it runs."""
    path = Path(queue.status(job_id).directory, "pid")
    wait_until(path.exists, "the leaf runs")
    return int(path.read_text())


@pytest.mark.parametrize("way", HIDES)
def test_kill_reaches_hidden_process(
    way: str, queue: tej.RemoteQueue, job: Make, gate: Gate
) -> None:
    queue.submit("hides", leaf(job, HIDES[way], gate))
    pid = pid_of_leaf(queue, "hides")
    assert is_alive(pid)
    status = queue.kill("hides", grace=1)
    assert (status.state, status.processes_left) == (JobState.KILLED, 0)
    assert not is_alive(pid)


# Ends its first thread: the kernel reports the process as a zombie while others run.
HEADLESS = """
import ctypes, os, threading
ready = threading.Event()

def work():
    ready.wait()
    os.rename("pid.new", "pid")
    threading.Event().wait()

with open("pid.new", "w") as file:
    file.write(str(os.getpid()))
threading.Thread(target=work).start()
ready.set()
ctypes.CDLL(None).pthread_exit(None)
"""


def test_process_without_first_thread_is_alive(
    queue: tej.RemoteQueue, job: Make
) -> None:
    script = f"{sys.executable} headless & until [ -e pid ]; do sleep 0.1; done"
    queue.submit("headless", job(script, {"headless": HEADLESS}))
    pid = pid_of_leaf(queue, "headless")
    wait_until(lambda: queue.status("headless").state.final, "the script has ended")
    assert queue.status("headless").processes_left == 1
    with pytest.raises(tej.JobStillRunning):
        queue.delete("headless")
    assert queue.kill("headless", grace=1).processes_left == 0
    # A zombie that no process has waited for keeps its first thread.
    assert len([*Path(f"/proc/{pid}/task").glob("*")]) <= 1


@pytest.mark.parametrize("program", ["cat", "grep", "awk"])
def test_unlisted_processes_do_not_count_as_ended(
    program: str,
    queue: tej.RemoteQueue,
    job: Make,
    gate: Gate,
    doubles: Doubles,
) -> None:
    """The shell cannot run a program if its arguments, the files in /proc, are too long."""
    leaves = job(f"({gate.wait}) & exit 1", name="leaves")
    queue.ensure(leaves, job_id="leaves")
    queue.submit("orphan", job(f"({gate.wait}) & {gate.wait}"))
    for job_id in ("leaves", "orphan"):
        wait_until_started(queue.queue, job_id)
    wait_until(lambda: queue.status("leaves").state.final, "the script has ended")
    folder = Path(queue.queue, "jobs", "orphan")
    for pid in (wrapper_of(folder), script_of(folder)):
        os.kill(pid, signal.SIGKILL)
    fails = 'case "$*" in *" /proc/"* | *wanted*) exit 126 ;; esac; exec "$real" "$@"'
    doubles.add(program, fails)
    for job_id in ("leaves", "orphan"):
        with pytest.raises(tej.RemoteCommandFailure, match="cannot be listed"):
            queue.status(job_id)
        with pytest.raises(tej.RemoteCommandFailure, match="cannot be listed"):
            queue.delete(job_id)
    with pytest.raises(tej.Error, match=r"cannot be listed|its processes run"):
        queue.ensure(leaves, job_id="leaves", retry=True)
    doubles.remove(program)
    assert queue.status("leaves").processes_left
    assert queue.status("orphan").state is JobState.RUNNING


def test_login_that_ignores_sigterm_delays_no_end(
    queue_path: Path, job: Make, gate: Gate
) -> None:
    queue = open_queue(queue_path, Within('sh -c \'trap "" TERM; exec "$@"\' sh'))
    queue.submit("ends", job("exit 3"))
    assert queue.job("ends").wait(90).exit_code == 3
    queue.submit("killed", job(gate.wait))
    assert queue.kill("killed", grace=0).state is JobState.KILLED


def test_kill_ends_all_generations_of_forking_process(
    queue: tej.RemoteQueue, job: Make, gate: Gate, queue_path: Path
) -> None:
    """Each process runs only briefly, and starts the next process before it ends."""
    hydra = (
        f"trap '' TERM; [ -e {str(gate.path)!r} ] && exit\n"
        "n=$(($1 + 1)); [ $n -lt 60 ] || exit\n"
        "echo $n >head; setsid sh ./hydra $n & sleep 0.2\n"
    )
    queue.submit("hydra", job(f"sh ./hydra 0; {gate.wait}", {"hydra": hydra}))
    head = Path(queue.status("hydra").directory, "head")
    wait_until(lambda: head.exists() and head.read_text() > "2", "the job has begun")
    status = queue.kill("hydra", grace=0)
    assert status.state is JobState.KILLED
    wait_until(
        lambda: queue.status("hydra").processes_left == 0, "all processes are killed"
    )
    assert processes_of(queue_path) == {}


def test_concurrent_kills_both_report_killed(
    queue: tej.RemoteQueue, client: Callable[..., Client], job: Make, gate: Gate
) -> None:
    queue.submit("victim", job(f"trap '' TERM; {gate.wait}"))
    code = "pause()\nprint(queue.kill('victim', grace=1).state)"
    clients = [client(code) for _ in range(2)]
    continue_together(clients)
    assert [one.finish().strip() for one in clients] == ["killed", "killed"]


@pytest.mark.parametrize(
    ("program", "when"),
    [
        ("setsid", {"before": "*run_detached.sh*"}),
        ("mv", {"before": "*native_id"}),
        ("mv", {"after": "*native_id"}),
        ("setsid", {"before": "*exec_job.sh*"}),
        ("mv", {"before": "*/started"}),
        ("mv", {"after": "*/started"}),
        # In a request with several jobs, the fact `started` is written first.
        ("setsid", {"before": "*start.sh*victim*"}),
    ],
)
def test_starting_job_can_be_killed(
    program: str,
    when: dict[str, str],
    queue: tej.RemoteQueue,
    queue_path: Path,
    job: Make,
    gate: Gate,
    doubles: Doubles,
    tmp_path: Path,
) -> None:
    """Either the job never runs, or its processes are killed."""
    queue.setup()
    hold = doubles.hold(program, **when)
    directory = job(f"touch '{tmp_path}/ran'; {gate.wait}")
    specs = [tej.JobSpec(directory, "start.sh victim", job_id="victim")]
    if "victim" in when.get("before", ""):
        specs.append(tej.JobSpec(job("true", name="other"), job_id="other"))
    submission = threading.Thread(target=lambda: queue.submit_many(specs))
    submission.start()
    hold.wait()
    killing: list[tej.JobStatus] = []
    kill = threading.Thread(
        target=lambda: killing.append(queue.kill("victim", grace=1))
    )
    kill.start()
    asked = [queue_path / "jobs/victim" / fact for fact in ("kill", "finished")]
    wait_until(lambda: any(path.exists() for path in asked), "the kill has begun")
    hold.release()
    submission.join()
    kill.join()
    assert killing[0].state is JobState.KILLED
    assert queue.status("victim").state is JobState.KILLED
    wait_until(lambda: not processes_of(queue_path), "no process is left")


def test_kill_before_started_leaves_nothing_running(
    queue: tej.RemoteQueue,
    queue_path: Path,
    job: Make,
    gate: Gate,
    doubles: Doubles,
    tmp_path: Path,
) -> None:
    """The client of the first kill has found no process of the job, and has exited."""
    queue.setup()
    hold = doubles.hold("mv", before="*/started")
    directory = job(f"touch '{tmp_path}/ran'; {gate.wait}")
    submission = threading.Thread(target=lambda: queue.submit("victim", directory))
    submission.start()
    hold.wait()
    (queue_path / "jobs/victim/kill").write_text("1700000000 1 somebody\n")
    hold.release()
    submission.join()
    wait_until((queue_path / "jobs/victim/finished").exists, "the job has ended")
    assert queue.status("victim").state is JobState.KILLED
    assert not (tmp_path / "ran").exists()


def test_job_whose_directory_is_read_only_spares_no_other(
    queue: tej.RemoteQueue, queue_path: Path, job: Make, gate: Gate, doubles: Doubles
) -> None:
    for name in ("closed", "open"):
        queue.submit(name, job(gate.wait))
    wait_until_started(queue_path, "closed", "open")
    # `kill` writes in the working directory.
    closed = 'case "$PWD $*" in */closed\\ *./kill) exit 1 ;; esac; exec "$real" "$@"'
    doubles.add("mv", closed)
    killed = queue.kill_many(["closed", "open"], grace=0)
    states = {name: one and one.status.state for name, one in killed.items()}
    assert states == {"closed": JobState.RUNNING, "open": JobState.KILLED}
    assert killed["closed"] is not None
    with pytest.raises(tej.JobStillRunning, match="cannot write to '.*/closed'"):
        raise why_alive(killed["closed"].status) or AssertionError
    gate.open()
    assert queue.wait(["closed"])["closed"].succeeded


def test_stopped_wrapper_records_end_of_killed_job(
    queue: tej.RemoteQueue, queue_path: Path, job: Make, gate: Gate
) -> None:
    queue.submit("frozen", job(gate.wait))
    wait_until_started(queue_path, "frozen")
    for pid in wrappers_of(queue_path):
        os.kill(pid, signal.SIGSTOP)
    assert queue.kill("frozen", grace=30).state is JobState.KILLED
    wait_until(lambda: not wrappers_of(queue_path), "the wrapper has ended")


def test_kill_grants_the_whole_grace_time(
    queue: tej.RemoteQueue, job: Make, gate: Gate, doubles: Doubles, tmp_path: Path
) -> None:
    """The grace period of five seconds is 25 pauses of `kill`, which take no time here."""
    queue.setup()
    queue.submit("deaf", job(f"trap '' TERM; echo $$ >'{tmp_path}/pid'; {gate.wait}"))
    wait_until((tmp_path / "pid").exists, "the job ignores SIGTERM")
    doubles.add(
        "sleep",
        'case $1 in 0.2) ;; *) exec "$real" "$@" ;; esac\n'
        f"cd '{tmp_path}' && echo >>pauses\n"
        '[ "$(wc -l <pauses)" != 24 ] || ! kill -0 "$(cat pid)" || : >lives',
    )
    assert queue.kill("deaf", grace=5).state is JobState.KILLED
    assert (tmp_path / "lives").exists()


def test_job_that_ends_during_kill_has_one_result(
    queue: tej.RemoteQueue, job: Make
) -> None:
    for _ in range(3):
        queue.submit("quick", job("sleep 0.1"))
        ended = queue.kill("quick", grace=2)
        assert ended.state in (JobState.KILLED, JobState.FINISHED)
        assert queue.status("quick") == ended
        queue.delete("quick")


def test_leftovers_of_lost_job_prevent_deletion(
    queue: tej.RemoteQueue, queue_path: Path, job: Make, gate: Gate
) -> None:
    queue.submit("lost", leaf(job, "setsid sh leaf &", gate))
    pid = pid_of_leaf(queue, "lost")
    facts = queue_path / "jobs/lost"
    for one in (wrapper_of(facts), script_of(facts)):
        signal_and_see(one)
    status = queue.status("lost")
    assert is_alive(pid)
    assert status.state in (JobState.RUNNING, JobState.LOST)
    assert status.state is JobState.RUNNING or status.processes_left >= 1
    with pytest.raises(tej.JobStillRunning):
        queue.delete("lost")
    queue.kill("lost", grace=1)
    assert not is_alive(pid)
    queue.delete("lost")


def signal_and_see(pid: int) -> None:
    """Kill a process with SIGKILL, and wait for its end."""
    import os

    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(pid), f"{pid} is gone")


def test_process_without_trace_of_job_is_not_killed(
    queue: tej.RemoteQueue, job: Make, gate: Gate, queue_path: Path
) -> None:
    """This limit is documented: nothing connects such a process with its job."""
    script = "(env -i setsid sh leaf &) & sleep 0.1; wait"
    queue.submit("gone", leaf(job, script, gate))
    pid = pid_of_leaf(queue, "gone")
    status = queue.kill("gone", grace=1)
    assert status.state is JobState.KILLED
    if is_alive(pid):
        gate.open()
        wait_until(lambda: not is_alive(pid), "the job has ended by itself")
