"""Jobs in a real Grid Engine: states, signals and causes of their ends."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from clocks import expire_heartbeat
from jobs import Gate, wait_until
from schedulers.conftest import SERVERS, empty, forget_listing, output, run, until

import tej
from tej import JobState

Make = Callable[..., Path]
pytestmark = pytest.mark.xdist_group("a real Grid Engine")


@pytest.fixture(scope="module")
def commands(
    require: Callable[[str], None], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """Yield the commands of a real Grid Engine with two slots, in its own namespaces."""
    require("root")
    require("unshare")
    folder = tmp_path_factory.mktemp("sge")
    start = subprocess.run(
        [SERVERS / "start-sge", folder], stdin=subprocess.DEVNULL, timeout=120
    )
    if start.returncode:
        require("a Grid Engine that can be started")
    # The site's own options of qstat, which hide waiting jobs and all jobs of main.q.
    (folder / "default/common/sge_qstat").write_text("-s r -q nowhere.q\n")
    try:
        yield folder / "bin/tej"
    finally:
        subprocess.run([SERVERS / "start-sge", "--stop", folder], timeout=60)


@pytest.fixture
def queue(
    commands: Path, queue_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tej.RemoteQueue]:
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    monkeypatch.setenv("SGE_ROOT", str(commands.parents[1]))
    try:
        yield tej.RemoteQueue("local:", str(queue_path), "sge")
    finally:
        empty(queue_path)


def native_id(queue_path: Path, job_id: str) -> str:
    return (queue_path / f"jobs/{job_id}/native_id").read_text().split()[1]


def test_jobs_wait_run_end_and_are_killed(
    queue: tej.RemoteQueue, job: Make, gate: Gate, home: Path, tmp_path: Path
) -> None:
    # With these default options of the user, qsub would not copy the script, and would
    # wait for the end of the job.
    (home / ".sge_request").write_text("-b y -sync y\n")
    script = f"trap 'echo cleaned; exit 9' TERM; echo begun; {gate.wait}; exit 3"
    directory = job(script)
    for number in range(2):
        queue.submit(f"job{number}", directory)
    queue.submit("queued", job(f"touch '{tmp_path}/ran'", name="queued"))
    wait_until(lambda: output(queue, "job1") == "begun\n", "the trap is set")
    assert queue.status("queued").state is JobState.QUEUED
    killed = queue.kill_many(["queued", "job1"], grace=60)
    assert {one.status.exit_code for one in killed.values() if one} == {None, 9}
    assert {one.status.state for one in killed.values() if one} == {JobState.KILLED}
    gate.open()
    assert queue.job("job0").wait(90).exit_code == 3
    assert output(queue, "job1") == "begun\ncleaned\n"
    assert not (tmp_path / "ran").exists()


def test_notify_signal_and_qdel_are_reported(
    queue: tej.RemoteQueue, job: Make, gate: Gate, queue_path: Path
) -> None:
    """With `-notify`, the whole job receives SIGUSR2 a few seconds before SIGKILL."""
    tidy = job(f"#$ -notify\ntrap 'exit 0' USR2; echo begun; {gate.wait}", name="tidy")
    queue.submit("tidy", tidy)
    queue.submit(
        "told", job(f"#$ -notify\ntrap 'echo usr2' USR2; echo begun; {gate.wait}")
    )
    wait_until(lambda: output(queue, "told") == "begun\n", "the trap is set")
    wait_until(lambda: output(queue, "tidy") == "begun\n", "the other trap is set")
    for job_id in "told", "tidy":
        run("qdel", native_id(queue_path, job_id))
    # The accounting entry is used at once if the heartbeat has stopped.
    facts = queue_path / "jobs/told"
    status = until(
        queue, "told", lambda status: expire_heartbeat(facts) or status.state.final
    )
    assert output(queue, "told") == "begun\nusr2\n"
    assert (status.state, status.succeeded) == (JobState.KILLED, False)
    assert "not by tej" in status.describe()
    status = until(queue, "tidy", lambda status: status.state.final)
    assert (status.exit_code, status.cut_off, status.succeeded) == (0, "other", False)
    assert "SIGUSR2 announced SIGKILL" in status.describe()


def test_suspended_job_and_job_in_error(
    queue: tej.RemoteQueue, job: Make, gate: Gate, queue_path: Path
) -> None:
    queue.submit("paused", job(f"echo begun; {gate.wait}"))
    soft = f"#$ -l s_rt=0:0:01\ntrap 'exit 0' USR1; {gate.wait}"
    queue.submit("soft", job(soft, name="soft"))
    nowhere = tej.Resources(options=["-wd", "/nowhere"])
    queue.submit("error", job("true", name="error"), resources=nowhere)
    wait_until(lambda: output(queue, "paused") == "begun\n", "it runs")
    run("qmod", "-sj", native_id(queue_path, "paused"))
    for job_id, words in ("paused", "suspended"), ("error", "can't chdir to /nowhere"):
        until(
            queue,
            job_id,
            lambda status, words=words: (
                words in str(status.note) or forget_listing(queue_path)
            ),
        )
    assert queue.status("paused").state is JobState.RUNNING
    assert queue.kill("error").state is JobState.KILLED
    status = until(queue, "soft", lambda status: status.state.final)
    assert (status.exit_code, status.cut_off) == (0, "limit")
    gate.open()
    run("qmod", "-usj", native_id(queue_path, "paused"))
    assert queue.job("paused").wait(90).succeeded


def test_array_tasks_are_separate_jobs(
    queue: tej.RemoteQueue, job: Make, gate: Gate, wrapped: Make, commands: Path
) -> None:
    calls = wrapped("qsub", f'exec {commands}/qsub "$@"')
    # Grid Engine keeps a job that exits with 99 or 100, unlike the wrapper of tej.
    task = f"echo $SGE_TASK_ID; {gate.wait}; exit"
    specs = [
        tej.JobSpec(job(f"{task} {97 + n}", name=f"run{n}"), job_id=f"job{n}")
        for n in range(5)
    ]
    assert [outcome.error for outcome in queue.submit_many(specs)] == [None] * 5
    assert "-t 1-5" in calls.read_text()
    ids = [str(queue.status(f"job{n}").native_id) for n in range(5)]
    array = ids[0].partition(".")[0]
    assert ids == [f"{array}.{n}" for n in range(1, 6)]
    until(queue, "job0", lambda status: status.state is JobState.RUNNING)
    assert queue.status("job4").state is JobState.QUEUED
    killed = queue.kill_many(["job0", "job4"], grace=1)
    assert {one.status.state for one in killed.values() if one} == {JobState.KILLED}
    again = queue.ensure(specs[4].directory, job_id="job4", retry=True)
    gate.open()
    ended = dict(queue.as_completed(["job1", "job2", "job3", "job4"], 90))
    assert {status.exit_code for status in ended.values()} == {98, 99, 100, 101}
    assert "." not in str(again.status().native_id)
    assert output(queue, "job2") == "undefined\n"
    wait_until(lambda: not run("qstat", "-s", "prs", "-q", "*"), "no job remains")
    assert "taskid       3 " in queue.scheduler_log("job2").decode()


def test_array_without_reply_starts_each_job_once(
    queue: tej.RemoteQueue, job: Make, wrapped: Make, commands: Path, tmp_path: Path
) -> None:
    calls = wrapped("qsub", f'{commands}/qsub "$@" >/dev/null; exit 124')
    directory = job(f"echo ran >>'{tmp_path}'/ran-$TEJ_JOB_ID")
    specs = [tej.JobSpec(directory, job_id=one) for one in "ab"]
    assert [outcome.error for outcome in queue.submit_many(specs)] == [None] * 2
    ended = dict(queue.as_completed(["a", "b"], 90))
    assert all(status.succeeded for status in ended.values())
    assert len(calls.read_text().splitlines()) == 1
    assert [(tmp_path / f"ran-{one}").read_text() for one in "ab"] == ["ran\n"] * 2
