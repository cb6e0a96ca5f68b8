"""Search for the processes of several jobs at once, and kills of several jobs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jobs import Gate, is_alive, wait_until, wait_until_ended

import tej
from tej import JobState

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc")
Make = Callable[..., Path]
Start = Callable[..., int]

LIBRARY = """
here=$1 queue=$2 runtime=default id=a job=$2
shift 2
. "$here/lib/load.sh"
"""


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a process in its own session; `token` is the job token in its environment."""
    started: list[subprocess.Popen[bytes]] = []

    def start(token: str = "", script: str = "exec cat") -> int:
        process = subprocess.Popen(
            ["sh", "-c", f"echo; {script}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "TEJ_JOB_TOKEN": token},
            start_new_session=True,
        )
        started.append(process)
        assert process.stdout is not None
        process.stdout.readline()
        return process.pid

    yield start
    for process in started:
        # The end of its input ends each process.
        process.communicate()


def run_library(
    folder: Path, lines: str, *words: object, shell: str = "sh"
) -> list[str]:
    """Run lines of shell with the server's library; `$job` is the folder."""
    server = Path(tej.__file__).with_name("server")
    command = [shell, "-c", LIBRARY + lines, "sh", str(server), str(folder)]
    done = subprocess.run(
        [*command, *map(str, words)], stdout=subprocess.PIPE, check=True, text=True
    )
    return done.stdout.splitlines()


def start_time(pid: int) -> int:
    """Return the start time of a process, in clock ticks since the boot of the host."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def children_of(pid: int) -> list[int]:
    """Return the pids of the children of a process."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


@pytest.mark.parametrize("tools", ["usual", "busybox"])
def test_one_search_separates_the_jobs(
    tools: str,
    start: Start,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    require: Callable[[str], None],
) -> None:
    if tools == "busybox":
        require("busybox")
        for name in ("awk", "grep", "head", "tr", "cat"):
            (tmp_path / name).symlink_to(shutil.which("busybox") or "")
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    tokens = [os.urandom(16).hex() for _ in range(2)]
    marked, family = start(tokens[0]), start(tokens[1], "env -i cat; true")
    leader, reused = start(), start()
    wait_until(lambda: children_of(family), "the child runs")
    wanted = [
        f"1 {tokens[0]} - -",
        f"2 {tokens[1]} - -",
        f"3 x {leader} {start_time(leader)}",
        # Another process has the pid of the job's first process.
        f"4 x {reused} {start_time(reused) + 1}",
    ]
    lines = """
        begin_search
        for words in "$@"; do
            set -- $words
            spec="token=$2 end" j_pid=$3 j_start=$4
            add_to_search "$1"
        done
        run_search
        printf '%s\\n' "$pids_1" "$pids_2" "$pids_3" "$pids_4"
    """
    found = [{*line.split()} for line in run_library(tmp_path, lines, *wanted)]
    assert found[0] == {str(marked)}
    assert found[1] == {str(family), *map(str, children_of(family))}
    assert found[2] == {str(leader)}
    assert found[3] == set()


def test_session_of_earlier_boot_is_not_searched(start: Start, tmp_path: Path) -> None:
    leader = start()
    lines = """
        get_host
        j_pid=$1 j_start=$2 spec='token=x end'
        for words in "$boot $space" "earlier $space" "$boot other"; do
            native="pid $host $words 1 1"
            find_job_processes
            printf '%s.\\n' "$pids"
        done
        is_wrapper=1
        find_job_processes
        printf '%s.\\n' "$pids"
    """
    found = run_library(tmp_path, lines, leader, start_time(leader))
    assert found == [f"{leader} .", ".", ".", f"{leader} ."]


@pytest.mark.parametrize("shell", ["sh", "mksh"])
def test_thousands_of_jobs_are_searched_at_once(
    shell: str, start: Start, tmp_path: Path, require: Callable[[str], None]
) -> None:
    """In mksh, `printf` is a program, and its arguments have a limit of 128 KB."""
    require(shell)
    leader = start()
    lines = """
        filler=$(awk 'BEGIN { while (n++ < 3000) print "0 " sprintf("%032d", n) " - -" }')
        begin_search
        j_pid=$1 j_start=$2 spec='token=x end'
        add_to_search 1
        wanted=$filler$newline$wanted
        run_search
        printf '%s\\n' "$pids_1"
    """
    found = run_library(tmp_path, lines, leader, start_time(leader), shell=shell)
    assert found == [f"{leader} "]


def test_pid_of_former_orphan_is_checked_again(start: Start, tmp_path: Path) -> None:
    before, after = start(), start()
    lines = """
        adopted=" $1 $2 1 " j_start=$3
        forget_ended_orphans
        printf '%s\\n' "$adopted"
    """
    since = start_time(before) + 1
    if start_time(after) < since:
        wait_until(lambda: start_time(start()) >= since, "a later process runs")
        after = start()
    (adopted,) = run_library(tmp_path, lines, before, after, since)
    assert {*adopted.split()} == {"1", str(before)}


def test_only_own_live_killer_spares_the_job(start: Start, tmp_path: Path) -> None:
    pid = start()
    lines = """
        get_host
        for killer in "$@"; do
            printf '%s\\n' "$host $boot $space $killer" >"$job/.killer"
            is_killed_here && printf 'alive\\n' || printf 'gone\\n'
        done
        rm "$job/.killer"
        note_killer
        is_killed_here || printf 'none\\n'
        rm "$job/heartbeat"
        : >"$job/heartbeat"
        note_killer
        is_killed_here && printf 'alive\\n'
    """
    # The heartbeat of another user, who is the owner of the job.
    heartbeat = tmp_path / "heartbeat"
    if os.geteuid():
        heartbeat.symlink_to("/etc/passwd")
    else:
        heartbeat.touch()
        os.chown(heartbeat, 1, -1)
    began = start_time(pid)
    found = run_library(tmp_path, lines, f"{pid} {began}", f"{pid} {began + 1}")
    assert found == ["alive", "gone", "none", "alive"]


def test_each_killed_job_has_its_own_outcome(
    local_queue: tej.RemoteQueue, job: Make, gate: Gate
) -> None:
    leaf = f"trap '' TERM; echo $$ >pid.new; mv pid.new pid; {gate.wait}"
    scripts = {
        "polite": gate.wait,
        "deaf": f"trap '' TERM; setsid sh leaf & {gate.wait}",
        "leaver": "setsid sh leaf >/dev/null 2>&1 &\nuntil [ -e pid ]; do sleep 0.05; done",
    }
    local_queue.submit_many(
        tej.JobSpec(job(script, {"leaf": leaf}, name=name), job_id=name)
        for name, script in scripts.items()
    )
    files = [
        Path(local_queue.queue, "jobs", name, "stage/pid")
        for name in ("deaf", "leaver")
    ]
    wait_until(lambda: all(file.exists() for file in files), "the leaves run")
    wait_until_ended(local_queue, "leaver")
    killed = local_queue.kill_many([*scripts, "absent"], grace=1)
    assert killed.pop("absent") is None
    outcomes = {name: outcome for name, outcome in killed.items() if outcome}
    states = {name: outcome.status.state for name, outcome in outcomes.items()}
    assert states == {
        "polite": JobState.KILLED,
        "deaf": JobState.KILLED,
        "leaver": JobState.FINISHED,
    }
    assert [outcome.status.processes_left for outcome in outcomes.values()] == [0] * 3
    strays = {name: outcome.strays > 0 for name, outcome in outcomes.items()}
    assert strays == {"polite": False, "deaf": False, "leaver": True}
    assert not any(is_alive(int(file.read_text())) for file in files)


def test_start_is_read_despite_brackets_in_a_name(tmp_path: Path) -> None:
    lines = """
        for name in usual 'a) S 1 2) b ('; do
            printf '%s' "$name" >/proc/$$/comm
            get_start $$
            printf '%s\\n' "$parent $session $start"
        done
    """
    usual, with_brackets = run_library(tmp_path, lines)
    assert usual.split()[:2] == [str(os.getpid()), str(os.getsid(0))]
    assert with_brackets == usual
