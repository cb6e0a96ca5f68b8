"""Jobs in Grid Engine, with doubles of its commands (doubles/)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from clocks import expire_heartbeat
from facts import scheduler_id_of
from jobs import Gate, wait_until
from schedulers.conftest import (
    check_kill_of_third_job_on_two_slots,
    empty,
    output,
    run,
    until,
)

import tej
from tej import JobState

Make = Callable[..., Path]


@pytest.fixture
def sge(played: Callable[..., Path]) -> Path:
    return played("sge.py", "sge", "qsub", "qstat", "qdel", "qacct", "qconf")


@pytest.fixture
def queue(sge: Path, queue_path: Path) -> Iterator[tej.RemoteQueue]:
    try:
        yield tej.RemoteQueue("local:", str(queue_path), "sge")
    finally:
        empty(queue_path)


def test_detected_scheduler_is_reported_once(
    sge: Path, queue_path: Path, home: Path
) -> None:
    (home / ".profile").write_text(f"PATH='{os.environ['PATH']}'\n")

    def tej_command(verb: str) -> tuple[str, str]:
        words = [sys.executable, "-m", "tej", verb, "local:", "--queue", queue_path]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
        return done.stdout, done.stderr

    words = "using Grid Engine; --runtime default runs without it\n"
    assert tej_command("setup") == ("", words)
    shown = f"Queue: {queue_path}\nRuntime: sge\nLimit: none\n"
    assert tej_command("queue") == (shown, "")


def test_pbs_runtime_refuses_grid_engine(sge: Path, queue_path: Path) -> None:
    wrong = tej.RemoteQueue("local:", str(queue_path), "pbs")
    with pytest.raises(tej.Error, match="'pbs' cannot be used on this server"):
        wrong.setup()


def test_six_jobs_share_two_slots(
    queue: tej.RemoteQueue, job: Make, gate: Gate
) -> None:
    directory = job(f"echo begun; {gate.wait}; exit 3")
    specs = [tej.JobSpec(directory, job_id=f"job{number}") for number in range(6)]
    assert [outcome.error for outcome in queue.submit_many(specs)] == [None] * 6
    wait_until(lambda: len(queue.jobs(states=["running"])) == 2, "two jobs run")
    assert len(queue.jobs(states=["queued"])) == 4
    gate.open()
    ended = dict(queue.as_completed([f"job{number}" for number in range(6)], 90))
    assert {(s.state, s.exit_code) for s in ended.values()} == {(JobState.FINISHED, 3)}


def test_kill_of_queued_and_running_job_has_grace(
    queue: tej.RemoteQueue, job: Make, gate: Gate, tmp_path: Path
) -> None:
    check_kill_of_third_job_on_two_slots(queue, job, gate, tmp_path / "ran")


def test_signal_to_wrapper_reaches_script(
    queue: tej.RemoteQueue, job: Make, gate: Gate, queue_path: Path
) -> None:
    queue.submit("warned", job(f"trap 'echo usr1' USR1; echo begun; {gate.wait}"))
    wait_until(lambda: output(queue, "warned") == "begun\n", "the trap is set")
    script = int((queue_path / "jobs/warned/started").read_text().split()[2])
    os.kill(os.getsid(script), signal.SIGUSR1)
    wait_until(lambda: output(queue, "warned") == "begun\nusr1\n", "the trap runs")
    gate.open()
    assert queue.job("warned").wait(90).succeeded


def test_job_has_umask_of_its_user(queue: tej.RemoteQueue, job: Make) -> None:
    before = os.umask(0o027)
    try:
        queue.submit("masked", job("umask"))
    finally:
        os.umask(before)
    queue.job("masked").wait(90)
    assert output(queue, "masked") == "0027\n"


def test_qdel_by_others_is_reported_as_kill(
    queue: tej.RemoteQueue, job: Make, gate: Gate, queue_path: Path
) -> None:
    queue.submit("victim", job(f"echo begun; {gate.wait}"))
    wait_until(lambda: output(queue, "victim") == "begun\n", "the job runs")
    facts = queue_path / "jobs/victim"
    run("qdel", scheduler_id_of(facts))
    # The accounting entry is used at once if the heartbeat has stopped.
    status = until(
        queue, "victim", lambda status: expire_heartbeat(facts) or status.state.final
    )
    assert status.state is JobState.KILLED
    assert "not by tej" in status.describe()


def test_job_with_lost_submission_reply_is_found(
    queue: tej.RemoteQueue, sge: Path, job: Make, gate: Gate, tmp_path: Path
) -> None:
    (sge / "mute").touch()
    queue.submit("found", job(f"echo ran >>'{tmp_path}/runs'; {gate.wait}"))
    gate.open()
    assert queue.job("found").wait(90).exit_code == 0
    assert (tmp_path / "runs").read_text() == "ran\n"


def test_site_specific_resources_are_refused_with_advice(
    queue: tej.RemoteQueue, job: Make
) -> None:
    with pytest.raises(tej.RemoteCommandFailure, match="-pe NAME 4"):
        queue.submit("asks", job(), resources=tej.Resources(cpus=4))
    with pytest.raises(tej.RemoteCommandFailure, match="unknown queue"):
        queue.submit("odd", job(), resources=tej.Resources(partition="nowhere"))
    with pytest.raises(tej.RemoteCommandFailure, match="a job array"):
        queue.submit("array", job("#$ -t 1-3\ntrue"))
    with pytest.raises(tej.RemoteCommandFailure, match="wait for the job"):
        queue.submit("waits", job("#$ -sync y\ntrue"))
    assert queue.jobs() == []
    wanted = tej.Resources(
        cpus=1, memory="1G", walltime=90, options=["-pe", "smp", "4"]
    )
    queue.submit("asks", job(), resources=wanted)
    assert queue.job("asks").wait(90).succeeded
