"""Jobs in a real Slurm, through its own commands and its wrapper of qsub."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from clocks import expire_heartbeat, pass_time, set_age
from facts import scheduler_id_of, script_of
from jobs import Gate, end_processes_of, is_alive, wait_until
from schedulers.conftest import forget_listing, output, run, until
from servers.sshd import Sshd
from servers.users import Users

import tej
from tej import JobState
from tej.destination import Destination
from tej.runtime_check import RuntimeCheck
from tej.transport import open_transport

Make = Callable[..., Path]


def fact(queue_path: Path, job_id: str, name: str) -> Path:
    return queue_path / "jobs" / job_id / name


def native_id(queue_path: Path, job_id: str) -> str:
    return scheduler_id_of(queue_path / "jobs" / job_id)


# Submission, output and end


def test_six_jobs_share_two_slots(
    either: tej.RemoteQueue, job: Make, gate: Gate
) -> None:
    directory = job(f"echo begun; {gate.wait}; exit 3")
    specs = [tej.JobSpec(directory, job_id=f"job{number}") for number in range(6)]
    outcomes = list(either.submit_many(specs))
    assert [outcome.error for outcome in outcomes] == [None] * 6
    assert all(
        outcome.status and outcome.status.state in (JobState.QUEUED, JobState.RUNNING)
        for outcome in outcomes
    )

    def count(state: JobState) -> int:
        return sum(status.state is state for status in either.jobs())

    wait_until(lambda: count(JobState.RUNNING) == 2, "two jobs run")
    assert count(JobState.QUEUED) == 4
    queued = either.jobs(states=["queued"])
    assert all(
        status.native_id and status.native_id in str(status.note) for status in queued
    )
    gate.open()
    ended = dict(either.as_completed([spec.job_id or "" for spec in specs], 90))
    assert {(s.state, s.exit_code) for s in ended.values()} == {(JobState.FINISHED, 3)}


def test_output_can_be_read_while_the_job_runs(
    either: tej.RemoteQueue, job: Make, gate: Gate
) -> None:
    either.submit("talker", job(f"echo out; echo err >&2; {gate.wait}; echo done"))
    wait_until(lambda: output(either, "talker") == "out\n", "the output is readable")
    assert either.status("talker").state is JobState.RUNNING
    assert b"".join(either.logs("talker", "stderr")) == b"err\n"
    gate.open()
    assert either.job("talker").wait(90).exit_code == 0
    assert output(either, "talker") == "out\ndone\n"


def test_ordinary_user_can_run_jobs(
    slurm: Callable[[], None],
    users: Users,
    job: Make,
    tmp_path: Path,
) -> None:
    user = users.add("/bin/bash", noisy=True)
    gate = Gate(users.folder / "gate open")
    with (
        Sshd(users.folder / "sshd") as server,
        open_transport(
            Destination.parse(f"{user.name}@{server.host}:{server.port}"),
            config_file=server.config(tmp_path),
        ) as transport,
    ):
        queue = tej.RemoteQueue(
            f"{user.name}@{server.host}:{server.port}", transport=transport
        )
        try:
            queue.submit("theirs", job(f"id -un; {gate.wait}; exit 3"))
            status = until(queue, "theirs", lambda status: status.started)
            assert (status.state, status.runtime) == (JobState.RUNNING, "slurm")
            gate.open()
            assert queue.job("theirs").wait(90).exit_code == 3
            assert output(queue, "theirs") == f"{user.name}\n"
        finally:
            queue.cleanup(kill=True)


def test_exit_codes_and_signals_are_distinguished(
    queue: tej.RemoteQueue, job: Make
) -> None:
    queue.submit("plain", job("exit 143", name="plain"))
    queue.submit("crashed", job("kill -s TERM $$", name="crashed"))
    queue.submit("segv", job("kill -s SEGV $$", name="segv"))
    ended = dict(queue.as_completed(["plain", "crashed", "segv"], 90))
    assert {
        job_id: (status.state, status.exit_code, status.signal)
        for job_id, status in ended.items()
    } == {
        "plain": (JobState.FINISHED, 143, None),
        "crashed": (JobState.FINISHED, None, signal.SIGTERM),
        "segv": (JobState.FINISHED, None, signal.SIGSEGV),
    }


def test_job_over_before_sbatch_returns_is_finished(
    queue: tej.RemoteQueue, job: Make, wrapped: Callable[..., Path], queue_path: Path
) -> None:
    end = fact(queue_path, "quick", "finished")
    wrapped(
        "sbatch", f"/usr/bin/sbatch \"$@\"\nuntil [ -e '{end}' ]; do sleep 0.1; done"
    )
    queue.submit("quick", job("exit 4"))
    status = queue.status("quick")
    assert (status.state, status.exit_code) == (JobState.FINISHED, 4)


def test_leftover_processes_end_with_the_job(
    either: tej.RemoteQueue, job: Make, gate: Gate, tmp_path: Path
) -> None:
    leaf = f"#!/bin/sh\necho $$ >'{tmp_path}/pid'\n{gate.wait}\n"
    script = (
        f"chmod +x leaf; ./leaf & until [ -s '{tmp_path}/pid' ]; do sleep 0.1; done"
    )
    told = tmp_path / "told"
    on_end = f"sleep 0.1; echo $TEJ_JOB_STATE $TEJ_JOB_EXIT_CODE >'{told}'"
    either.submit("leaver", job(script, {"leaf": leaf}), on_end=on_end)
    assert either.job("leaver").wait(90).processes_left == 0
    # The --on-end command is not a process of the job, and runs to its end.
    wait_until(lambda: told.exists() and told.read_text() == "finished 0\n")
    either.delete("leaver")


def test_users_squeue_settings_are_ignored(
    queue: tej.RemoteQueue,
    job: Make,
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    own = {
        "SQUEUE_PARTITION": "nowhere",
        "SQUEUE_STATES": "SUSPENDED",
        "SCANCEL_INTERACTIVE": "1",
        "host": "not this one",
        "job": "a user's",
    }
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    for number in range(2):
        queue.submit(f"holder{number}", job(f"env >env; {gate.wait}", name="holder"))
    queue.submit("waiting", job("true", name="waiting"))
    status = until(queue, "waiting", lambda status: "Resources" in str(status.note))
    assert status.state is JobState.QUEUED
    assert queue.kill("waiting").state is JobState.KILLED
    until(queue, "holder0", lambda status: status.state is JobState.RUNNING)
    assert queue.kill("holder1", grace=1).state is JobState.KILLED
    for name in own:
        monkeypatch.delenv(name)
    wait_until(lambda: len(run("squeue", "-h").splitlines()) == 1, "one job is left")
    gate.open()
    assert queue.job("holder0").wait(90).succeeded
    queue.download("holder0", "env", directory=tmp_path)
    found = (tmp_path / "env").read_text().splitlines()
    assert {f"{name}={value}" for name, value in own.items()} <= {*found}
    assert not [line for line in found if line.startswith("tej_")]


# Kills by tej and by other users


def test_killed_queued_job_never_runs(
    either: tej.RemoteQueue, job: Make, gate: Gate, tmp_path: Path
) -> None:
    for number in range(2):
        either.submit(f"holder{number}", job(gate.wait, name="holder"))
    either.submit("waiting", job(f"touch '{tmp_path}/ran'", name="waiting"))
    until(either, "waiting", lambda status: status.state is JobState.QUEUED)
    status = either.kill("waiting")
    assert status.state is JobState.KILLED
    gate.open()
    for number in range(2):
        either.job(f"holder{number}").wait(90)
    wait_until(lambda: run("squeue", "-h") == "", "the queue is empty")
    assert not (tmp_path / "ran").exists()
    either.delete("waiting")


def test_killed_running_job_gets_grace_period(
    either: tej.RemoteQueue, job: Make, gate: Gate
) -> None:
    script = f"trap 'echo cleaned; exit 9' TERM; echo begun; {gate.wait}"
    either.submit("tidy", job(script))
    wait_until(lambda: output(either, "tidy") == "begun\n", "the trap is set")
    status = either.kill("tidy", grace=60)
    assert (status.state, status.exit_code) == (JobState.KILLED, 9)
    assert output(either, "tidy") == "begun\ncleaned\n"
    assert "by " in status.describe()


def test_job_that_ignores_sigterm_is_killed(
    queue: tej.RemoteQueue, job: Make, gate: Gate
) -> None:
    queue.submit("deaf", job(f"trap '' TERM; echo deaf; {gate.wait}"))
    wait_until(lambda: output(queue, "deaf") == "deaf\n", "SIGTERM is ignored")
    status = queue.kill("deaf", grace=1)
    assert (status.state, status.signal) == (JobState.KILLED, signal.SIGKILL)
    wait_until(lambda: run("squeue", "-h") == "", "the queue is empty")


def test_kill_leaves_no_process_of_a_forking_job(
    queue: tej.RemoteQueue, job: Make
) -> None:
    # The script starts processes between each search for processes and its SIGKILL.
    forks = "trap '' TERM; echo begun; while :; do sleep 60 & sleep 0.02; done"
    queue.submit("forks", job(forks))
    wait_until(lambda: output(queue, "forks") == "begun\n", "the job runs")
    assert queue.kill("forks", grace=0).state is JobState.KILLED
    queue.delete("forks")


def test_suspended_job_is_reported_and_killed(
    queue: tej.RemoteQueue,
    job: Make,
    gate: Gate,
    wrapped: Callable[..., Path],
    queue_path: Path,
) -> None:
    queue.submit("paused", job(f"echo begun; {gate.wait}"))
    wait_until(lambda: output(queue, "paused") == "begun\n", "it runs")
    run("scontrol", "suspend", native_id(queue_path, "paused"))
    forget_listing(queue_path)
    status = queue.status("paused")
    assert status.state is JobState.RUNNING
    assert "suspended" in str(status.note)
    calls = wrapped("scancel", 'exec /usr/bin/scancel "$@"')
    assert queue.kill("paused", grace=600).state is JobState.KILLED
    assert "TERM" not in calls.read_text()
    queue.delete("paused")


def test_second_kill_ends_remaining_processes(
    queue: tej.RemoteQueue, job: Make, queue_path: Path
) -> None:
    queue.submit("over", job("true"))
    assert queue.job("over").wait(90).succeeded
    spec = fact(queue_path, "over", "spec").read_text()
    token = spec.partition("token=")[2].split()[0]
    with subprocess.Popen(["sleep", "600"], env={"TEJ_JOB_TOKEN": token}) as left:
        with pytest.raises(tej.JobStillRunning, match="some of its processes run"):
            queue.delete("over")
        queue.kill("over", grace=0)
        assert left.wait(60) < 0
    queue.delete("over")


def test_job_without_wrapper_is_killed_as_requested(
    queue: tej.RemoteQueue, job: Make, queue_path: Path
) -> None:
    # The script survives its wrapper, and Slurm reports that the job is over.
    queue.submit("orphan", job("echo begun; sleep 600"))
    wait_until(lambda: output(queue, "orphan") == "begun\n", "the job runs")
    wrapper = run("pgrep", "-f", f"run_in_scheduler.sh {queue_path} orphan").split()
    run("kill", "-9", *wrapper, check=False)
    script = script_of(queue_path / "jobs/orphan")
    over = ("squeue", "-h", "-t", "running,completing")
    wait_until(lambda: run(*over) == "", "Slurm has ended the job")
    assert is_alive(script)
    fact(queue_path, "orphan", "kill").write_text(f"{int(time.time()) - 60} 0 me\n")
    (queue_path / "scheduler/listing").unlink(missing_ok=True)
    until(queue, "orphan", lambda status: status.state is JobState.KILLED)
    assert not is_alive(script)
    end_processes_of(
        queue_path
    )  # The remaining process is a `sleep` of the killed wrapper.


def test_all_killed_jobs_get_sigterm_first(
    either: tej.RemoteQueue, job: Make, gate: Gate, tmp_path: Path
) -> None:
    told = [tmp_path / f"told {number}" for number in range(2)]
    both = " && ".join(f"[ -e '{file}' ]" for file in told)
    for number, file in enumerate(told):
        # The job ends by itself only if the other job gets SIGTERM while this job runs.
        last_words = f"touch '{file}'; until {both}; do sleep 0.1; done; exit 7"
        script = f'trap "{last_words}" TERM; echo begun; {gate.wait}'
        either.submit(f"one{number}", job(script, name=f"one{number}"))
    for number in range(2):
        wait_until(
            lambda n=number: output(either, f"one{n}") == "begun\n", "the job runs"
        )
    outcomes = either.kill_many(["one0", "one1"], grace=20)
    for outcome in outcomes.values():
        assert outcome is not None
        assert (outcome.status.state, outcome.status.exit_code) == (JobState.KILLED, 7)


def test_scancel_of_running_job_is_reported(
    either: tej.RemoteQueue, job: Make, gate: Gate, queue_path: Path
) -> None:
    either.submit("victim", job(f"echo begun; {gate.wait}"))
    wait_until(lambda: output(either, "victim") == "begun\n", "the job runs")
    run("scancel", native_id(queue_path, "victim"))
    status = until(either, "victim", lambda status: status.state.final)
    assert status.state is JobState.KILLED
    assert status.killed_by is None
    assert "not by tej" in status.describe()
    # The messages of the scheduler are in its log, and in the error.
    assert "CANCELLED AT" in str(either.failure(status))
    report = either.scheduler_log("victim").decode()
    assert "CANCELLED AT" in report
    assert "JobState=CANCELLED" in report


def test_scancel_of_queued_job_is_reported(
    queue: tej.RemoteQueue, job: Make, gate: Gate, queue_path: Path
) -> None:
    for number in range(2):
        queue.submit(f"holder{number}", job(gate.wait, name="holder"))
    queue.submit("victim", job("true", name="victim"))
    run("scancel", native_id(queue_path, "victim"))
    status = until(queue, "victim", lambda status: status.state.final)
    assert status.state is JobState.KILLED
    assert "not by tej" in status.describe()


def test_late_sbatch_reply_is_not_misattributed(
    queue: tej.RemoteQueue,
    queue_path: Path,
    wrapped: Callable[..., Path],
    job: Make,
    gate: Gate,
    tmp_path: Path,
) -> None:
    """The first sbatch hangs, is killed, and is repeated before its reply arrives."""
    queue.setup()
    hung, answers = tmp_path / "hung", Gate(tmp_path / "answers")
    wrapped(
        "sbatch",
        f"if mkdir '{hung}' 2>/dev/null; then {answers.wait}; fi\n"
        'exec /usr/bin/sbatch "$@"',
    )
    directory = job(f"echo begun; {gate.wait}")

    def submit() -> None:
        with contextlib.suppress(tej.Error):
            tej.RemoteQueue("local:", str(queue_path)).ensure(directory, job_id="twice")

    first = threading.Thread(target=submit)
    first.start()
    wait_until(hung.exists, "sbatch hangs")
    assert queue.kill("twice", grace=0).state is JobState.KILLED
    assert queue.ensure(directory, job_id="twice", retry=True).is_new
    true_id = native_id(queue_path, "twice")
    wait_until(lambda: output(queue, "twice") == "begun\n", "the job runs")
    answers.open()
    first.join()
    assert native_id(queue_path, "twice") == true_id
    assert queue.status("twice").state is JobState.RUNNING
    wait_until(
        lambda: run("squeue", "-h", "-o", "%i").split() == [true_id],
        "no other process is left",
    )
    gate.open()
    assert queue.job("twice").wait(90).succeeded


# Actions of Slurm


def test_requeued_slurm_job_does_not_run_twice(
    queue: tej.RemoteQueue, job: Make, gate: Gate, queue_path: Path, tmp_path: Path
) -> None:
    queue.submit("again", job(f"echo ran >>'{tmp_path}/runs'; {gate.wait}"))
    wait_until(lambda: (tmp_path / "runs").exists(), "the job runs")
    batch = fact(queue_path, "again", "batch")
    # A second run starts the same script with the same id.
    run("env", f"SLURM_JOB_ID={native_id(queue_path, 'again')}", "sh", batch)
    assert fact(queue_path, "again", "rerun").exists()
    gate.open()
    assert queue.job("again").wait(90).exit_code == 0
    assert (tmp_path / "runs").read_text() == "ran\n"


def test_vanished_job_is_lost_after_two_queries(
    queue: tej.RemoteQueue, job: Make, gate: Gate, queue_path: Path
) -> None:
    queue.submit("gone", job(f"echo begun; {gate.wait}"))
    wait_until(lambda: output(queue, "gone") == "begun\n", "the job runs")
    # No process of the job can record an end.
    wrapper = run("pgrep", "-f", f"run_in_scheduler.sh {queue_path} gone").split()
    leader = str(script_of(queue_path / "jobs/gone"))
    run("kill", "-9", *wrapper, leader, check=False)
    expire_heartbeat(queue_path / "jobs/gone")
    assert queue.status("gone").state is JobState.RUNNING
    pass_time(queue_path / "jobs/gone")
    missed = fact(queue_path, "gone", "missed")
    status = until(queue, "gone", lambda _: missed.exists())
    assert status.state is JobState.RUNNING
    assert "checking again" in str(status.note)
    set_age(60, missed)
    status = until(queue, "gone", lambda status: status.state.final)
    assert status.state is JobState.LOST
    assert "recorded no exit status" in str(status.evidence)
    # An end that the job itself records later takes precedence.
    fact(queue_path, "gone", "finished").write_text(
        f"{int(time.time())} exit 0 own 0\n"
    )
    assert queue.status("gone").succeeded


def test_outdated_squeue_loses_no_queued_job(
    queue: tej.RemoteQueue, job: Make, wrapped: Callable[..., Path], queue_path: Path
) -> None:
    # Some sites answer squeue from a cache, which lists a new job a minute later.
    wrapped("sbatch", '/usr/bin/sbatch -H "$@"')
    wrapped("squeue", 'exec /usr/bin/squeue "$@" -t completing')
    queue.submit("held", job("true"))
    missed = fact(queue_path, "held", "missed")
    set_age(60, *(queue_path / "jobs/held").iterdir())
    until(queue, "held", lambda _: missed.exists())
    set_age(60, missed)
    forget_listing(queue_path)
    status = queue.status("held")
    assert status.state is JobState.QUEUED
    assert "PENDING" in str(status.note)
    run("scancel", native_id(queue_path, "held"))
    forget_listing(queue_path)
    status = queue.status("held")
    assert status.state is JobState.KILLED
    assert status.note == "not started: slurm no longer lists the job"


def test_silent_controller_ends_no_job(
    queue: tej.RemoteQueue,
    slurm: Callable[[], None],
    job: Make,
    gate: Gate,
    queue_path: Path,
) -> None:
    queue.submit("running", job(f"echo begun; {gate.wait}; exit 5"))
    wait_until(lambda: output(queue, "running") == "begun\n", "the job runs")
    until(queue, "running", lambda status: status.state is JobState.RUNNING)
    pid = Path("/run/slurm/slurmctld.pid").read_text().strip()
    os.kill(int(pid), signal.SIGTERM)
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "slurmctld is gone")
    try:
        listing = queue_path / "scheduler/listing"
        listing.unlink(missing_ok=True)
        status = queue.status("running")
        assert status.state is JobState.RUNNING
        assert "does not answer" in str(status.note)
        assert "last known" in str(status.note)
        with pytest.raises(tej.RemoteCommandFailure, match="slurm: "):
            queue.submit("refused", job("true", name="refused"))
        assert queue.statuses(["refused"]) == {"refused": None}
        gate.open()
        status = until(queue, "running", lambda status: status.state.final)
        assert (status.state, status.exit_code) == (JobState.FINISHED, 5)
    finally:
        slurm()


# The controller gets few queries.


def test_forty_jobs_are_listed_with_one_squeue(
    queue: tej.RemoteQueue, job: Make, gate: Gate, wrapped: Callable[..., Path]
) -> None:
    wrapped("sbatch", '/usr/bin/sbatch -H "$@"')
    specs = (tej.JobSpec(job("true"), job_id=f"job{n}") for n in range(40))
    outcomes = list(queue.submit_many(specs))
    assert [outcome.error for outcome in outcomes if outcome.error] == []
    calls = wrapped("squeue", 'exec /usr/bin/squeue "$@"')
    Path(str(queue.queue), "scheduler/listing").unlink(missing_ok=True)
    jobs = queue.jobs()
    assert len(jobs) == 40
    assert {status.state for status in jobs} == {JobState.QUEUED}
    assert all("JobHeld" in str(status.note) for status in jobs)
    queue.status("job7")
    assert len(calls.read_text().splitlines()) == 1
    run("scancel", "-u", "root")


def test_job_with_lost_submission_reply_is_found(
    queue: tej.RemoteQueue, job: Make, wrapped: Callable[..., Path], tmp_path: Path
) -> None:
    calls = wrapped(
        "sbatch",
        '/usr/bin/sbatch "$@" >/dev/null; '
        'echo "sbatch: error: submission failed: Socket timed out" >&2; exit 1',
    )
    queue.submit("found", job(f"echo ran >>'{tmp_path}/runs'"))
    assert queue.job("found").wait(90).exit_code == 0
    assert len(calls.read_text().splitlines()) == 1
    assert (tmp_path / "runs").read_text() == "ran\n"


def test_submission_by_dead_shell_is_found(
    queue: tej.RemoteQueue,
    job: Make,
    gate: Gate,
    wrapped: Callable[..., Path],
    queue_path: Path,
) -> None:
    for number in range(2):
        queue.submit(f"holder{number}", job(gate.wait, name="holder"))
    # The submitting shell dies before it receives the id.
    wrapped(
        "sbatch",
        '/usr/bin/sbatch "$@" >/dev/null\n'
        f"read -r _ _ _ _ _ pid _ <'{fact(queue_path, 'found', 'submitting')}'\n"
        'kill -9 "$pid"',
    )
    with pytest.raises(tej.Error):
        tej.RemoteQueue("local:", str(queue_path), retries=tej.Retries(limit=1)).submit(
            "found", job("exit 6", name="found")
        )
    status = until(queue, "found", lambda status: status.native_id)
    assert status.state is JobState.QUEUED
    gate.open()
    assert queue.job("found").wait(90).exit_code == 6


# Requested resources


def test_resources_reach_slurm(
    either: tej.RemoteQueue, job: Make, gate: Gate, queue_path: Path
) -> None:
    wanted = tej.Resources(
        nodes=1, cpus=2, memory="100M", walltime="0:05:00", partition="debug"
    )
    either.submit("asks", job(gate.wait), resources=wanted)
    until(either, "asks", lambda status: status.state is JobState.RUNNING)
    told = run("scontrol", "-o", "show", "job", native_id(queue_path, "asks"))
    for words in ("NumNodes=1", "NumCPUs=2", "TimeLimit=00:05:00", "Partition=debug"):
        assert f" {words} " in told
    assert "MinMemoryNode=100M" in told
    assert "JobName=job " in told


def test_slurm_runtime_passes_runtime_check(either: tej.RemoteQueue) -> None:
    findings = list(RuntimeCheck(either).run())
    assert [finding for finding in findings if finding.complaint] == []


def test_sbatch_directives_of_script_are_used(
    queue: tej.RemoteQueue, job: Make, gate: Gate, queue_path: Path
) -> None:
    script = (
        "#SBATCH --time=0:07:00\n#SBATCH --cpus-per-task=2\n"
        f"#SBATCH -o elsewhere/%j.out -e elsewhere/%j.err -i elsewhere/in\n"
        f"#SBATCH -J name-1 -t 1-0\n\n{gate.wait}\n#SBATCH --mem=1G"
    )
    queue.submit("asks", job(script), resources=tej.Resources(walltime=180))
    told = run("scontrol", "-o", "show", "job", native_id(queue_path, "asks"))
    assert " TimeLimit=00:03:00 " in told, "options override directives"
    assert " CPUs/Task=2 " in told
    assert "elsewhere" not in told
    assert " JobName=name-1 " in told
    assert "1G" not in told


def test_refused_submission_leaves_nothing(either: tej.RemoteQueue, job: Make) -> None:
    with pytest.raises(tej.RemoteCommandFailure, match="partition"):
        either.submit("odd", job(), resources=tej.Resources(partition="nowhere"))
    assert either.statuses(["odd"]) == {"odd": None}
    for line in ("--array=1-3", "-a 1-3", "-J x -a1,2"):
        array = job(f"#SBATCH {line}\ntrue", name="array")
        with pytest.raises(tej.RemoteCommandFailure, match="array"):
            either.submit("array", array)
    if either.setup_runtime == "slurm":
        wanted = tej.Resources(options=["--array=1-3"])
        with pytest.raises(tej.RemoteCommandFailure, match="array"):
            either.submit("array", job(), resources=wanted)
    assert run("squeue", "-h") == ""


def test_job_over_its_time_limit_has_not_succeeded(
    queue: tej.RemoteQueue, job: Make, queue_path: Path
) -> None:
    wait = "while :; do sleep 0.1; done"
    queue.submit("slow", job(f"trap 'exit 0' TERM; echo begun; {wait}"))
    wait_until(lambda: output(queue, "slow") == "begun\n", "the job runs")
    job_id = native_id(queue_path, "slow")
    # Time limits are in minutes.  Slurm checks them every half minute.
    for words in ("TimeLimit=1", "EndTime=now"):
        run("scontrol", "update", f"JobId={job_id}", words)
    wait_until(lambda: queue.status("slow").state.final, "it was ended", 240)
    status = queue.status("slow")
    assert (status.state, status.exit_code) == (JobState.FINISHED, 0)
    assert (status.cut_off, status.succeeded) == ("limit", False)
    assert "time limit" in status.describe()
    assert "DUE TO TIME LIMIT" in str(queue.failure(status))
