"""Fixtures for schedulers: a real Slurm, and queues that use it.

Slurm is started before these tests and stopped afterwards.  TEJ_TEST_SLURM contains
further lines for slurm.conf, such as other ports.  A killed pytest leaves its Slurm and
its jobs behind, which the next run removes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jobs import Gate, no_processes_left, wait_until

import tej

DOUBLES = Path(__file__).parent / "doubles"
REAL = ("sbatch", "scontrol", "squeue", "scancel", "sacct", "qsub", "qstat", "qdel")
SERVERS = Path(__file__).parents[1] / "servers"
OPTIONS = ["MinJobAge=60", *os.environ.get("TEJ_TEST_SLURM", "").split()]


# pytest-xdist reads the groups in the same hook.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let one worker run all tests of Slurm, because each worker stops the daemons."""
    for item in items:
        if {"slurm", "either"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.xdist_group("the machine's Slurm"))


def run(*words: str | Path, check: bool = True) -> str:
    """Return the output of a command, which must end within a minute."""
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=60, check=False
    )
    assert not check or done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout


@contextlib.contextmanager
def only_user_of_slurm() -> Iterator[None]:
    """Wait until no other pytest uses Slurm, and remove what a killed one has left.

    The kernel releases the lock when its owner dies.  Slurm's daemons inherit no lock,
    because Python closes its files in other programs.
    """
    with Path("/run/lock/tej-slurm-tests").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        jobs = Path("/var/lib/slurm/slurmctld")
        if jobs.is_dir() and any(jobs.iterdir()):
            stop_slurm()
        yield


def stop_slurm() -> None:
    """Stop Slurm, and remove its jobs and its logs."""
    subprocess.run(
        [SERVERS / "stop-slurm", "--purge"], capture_output=True, timeout=120
    )


def start_slurm() -> None:
    # The output is discarded, because the daemons would keep a pipe open.
    subprocess.run(
        [SERVERS / "start-slurm", *OPTIONS],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def slurm(require: Callable[[str], None]) -> Iterator[Callable[[], None]]:
    """Yield a function that restarts a real Slurm with two slots."""
    require("sbatch")
    require("root")
    conf = Path("/etc/slurm/slurm.conf")
    if conf.exists() and "tej tests" not in conf.read_text().partition("\n")[0]:
        pytest.skip("the Slurm here is somebody's own")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SLURM_CONF")
        with only_user_of_slurm():
            try:
                start_slurm()
            except subprocess.SubprocessError:
                # Slurm may fail in a container, or if another Slurm uses its ports.
                require("a Slurm that can be started")
            try:
                yield start_slurm
            finally:
                stop_slurm()


def empty(path: Path) -> None:
    """Remove all jobs of the test from the queue and the scheduler."""
    with contextlib.suppress(tej.Error):
        tej.RemoteQueue("local:", str(path)).cleanup(kill=True, grace=0)
    no_processes_left(path)
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    return folder


@pytest.fixture
def queue_path(tmp_path: Path, home: Path) -> Path:
    return tmp_path / "queue"


@pytest.fixture
def queue(slurm: Callable[[], None], queue_path: Path) -> Iterator[tej.RemoteQueue]:
    """Return a queue that uses Slurm's own commands."""
    try:
        yield tej.RemoteQueue("local:", str(queue_path), "slurm")
    finally:
        empty(queue_path)


@pytest.fixture
def qsub_queue(
    slurm: Callable[[], None], require: Callable[[str], None], queue_path: Path
) -> Iterator[tej.RemoteQueue]:
    """Return a queue that uses Slurm's wrappers of the Torque commands."""
    require("qsub")
    try:
        yield tej.RemoteQueue("local:", str(queue_path), "pbs")
    finally:
        empty(queue_path)


@pytest.fixture(params=["slurm", "qsub"])
def either(request: pytest.FixtureRequest) -> tej.RemoteQueue:
    """Return each of the two queues, because jobs behave the same in both."""
    name = "queue" if request.param == "slurm" else "qsub_queue"
    queue: tej.RemoteQueue = request.getfixturevalue(name)
    return queue


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the programs of this machine, except those of schedulers."""
    folder = tmp_path_factory.mktemp("tools")
    for path in Path("/usr/bin").iterdir():
        if path.name not in REAL and not path.name.startswith(("q", "pbs")):
            (folder / path.name).symlink_to(path)
    return folder


@pytest.fixture
def played(
    tmp_path: Path, tools: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    """Return a function that puts the doubles of a scheduler's commands on the PATH.

    The function `played(PROGRAM, DIALECT, COMMAND...)` returns the directory of the
    doubles.  Commands of a real scheduler are not on the PATH.
    """

    def play(program: str, dialect: str, *commands: str) -> Path:
        folder, ours = tmp_path / "kept", tmp_path / "commands"
        for path in (folder, ours):
            path.mkdir()
        for name in commands:
            # Without the site packages, Python starts faster.
            words = shlex.join([sys.executable, "-S", str(DOUBLES / program), name])
            (ours / name).write_text(f'#!/bin/sh\nexec {words} "$@"\n')
            (ours / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{ours}:{tools}")
        monkeypatch.setenv("PBS_DOUBLE", f"{dialect}:{folder}")
        return folder

    return play


@pytest.fixture
def wrapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Path]]:
    """Return a function that puts a script before a scheduler command:

    `wrapped(name, lines)`.
    """
    folder = tmp_path / "in front"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def wrap(name: str, lines: str) -> Path:
        calls = folder / f"{name} calls"
        calls.touch()
        path = folder / name
        path.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$*\" >>'{calls}'\n{lines}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return calls

    return wrap


def output(queue: tej.RemoteQueue, job_id: str) -> str:
    """Return the output of a job."""
    return b"".join(queue.logs(job_id)).decode()


def forget_listing(queue_path: Path) -> None:
    """Let the next status query the scheduler."""
    (queue_path / "scheduler/listing").unlink(missing_ok=True)


def until(
    queue: tej.RemoteQueue, job_id: str, condition: Callable[[tej.JobStatus], object]
) -> tej.JobStatus:
    """Return the status of a job once it meets a condition.

    The scheduler is queried every second, and not every ten seconds as for users.
    """
    seen: list[tej.JobStatus] = []
    queried = 0.0

    def look() -> bool:
        nonlocal queried
        if time.monotonic() - queried > 1:
            forget_listing(Path(str(queue.queue)))
            queried = time.monotonic()
        seen.append(queue.status(job_id))
        return bool(condition(seen[-1]))

    try:
        wait_until(look, f"job {job_id} is as wanted")
    except AssertionError as error:
        raise AssertionError(f"{error}; last: {seen[-1]}") from None
    return seen[-1]


def check_kill_of_third_job_on_two_slots(
    queue: tej.RemoteQueue, job: Callable[..., Path], gate: Gate, ran: Path
) -> None:
    """Check that a queued job never runs, and that a running job has its grace period.

    The queued job would create the file `ran`.
    """
    script = f"trap 'echo cleaned; exit 9' TERM; echo begun; {gate.wait}"
    for number in range(2):
        queue.submit(f"job{number}", job(script))
    queue.submit("queued", job(f"touch '{ran}'", name="queued"))
    assert queue.kill("queued").state is tej.JobState.KILLED
    wait_until(lambda: output(queue, "job1") == "begun\n", "the trap is set")
    status = queue.kill("job1", grace=60)
    assert (status.state, status.exit_code) == (tej.JobState.KILLED, 9)
    assert output(queue, "job1") == "begun\ncleaned\n"
    gate.open()
    assert queue.job("job0").wait(90).exit_code == 0
    assert not ran.exists()
