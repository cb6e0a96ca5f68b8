"""Jobs in OpenPBS and Torque, with doubles of their commands (doubles/)."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from clocks import expire_heartbeat, pass_time, set_age
from facts import scheduler_id_of, script_of, who_ended, words_of
from faults.faulty_servers import unprivileged
from jobs import Gate, wait_until
from schedulers.conftest import (
    check_kill_of_third_job_on_two_slots,
    empty,
    forget_listing,
    output,
    run,
    until,
)

import tej
from tej import JobState
from tej.queue.dry_run import ServerPlan, plan_on_server, read_job

Make = Callable[..., Path]
Play = Callable[..., Path]


@pytest.fixture(params=["openpbs", "openpbs with history", "torque"])
def pbs(request: pytest.FixtureRequest, played: Play) -> Path:
    """Return the directory of the double of one PBS, whose commands are on the PATH."""
    dialect, _, history = request.param.partition(" with ")
    folder = played(
        *("pbs.py", dialect, "qsub", "qstat", "qdel", "qsig", "qrerun", "qmove"),
        "pbsnodes",
    )
    if history:
        (folder / "history").touch()
    return folder


@pytest.fixture
def queue(pbs: Path, queue_path: Path) -> Iterator[tej.RemoteQueue]:
    try:
        yield tej.RemoteQueue("local:", str(queue_path), "pbs")
    finally:
        empty(queue_path)


# The history of OpenPBS affects only the end of a job.
each_dialect = pytest.mark.parametrize("pbs", ["openpbs", "torque"], indirect=True)


@each_dialect
def test_dialect_is_recorded(
    queue: tej.RemoteQueue, pbs: Path, queue_path: Path
) -> None:
    queue.setup()
    assert "runtime pbs\n" in (queue_path / "version").read_text()
    noted = (queue_path / "scheduler/dialect").read_text().strip()
    assert noted == os.environ["PBS_DOUBLE"].partition(":")[0]


@pytest.mark.parametrize("pbs", ["openpbs"], indirect=True)
def test_six_jobs_share_two_slots(
    queue: tej.RemoteQueue, pbs: Path, job: Make, gate: Gate
) -> None:
    directory = job(f"echo begun; {gate.wait}; exit 3")
    specs = [tej.JobSpec(directory, job_id=f"job{number}") for number in range(6)]
    assert [outcome.error for outcome in queue.submit_many(specs)] == [None] * 6

    def count(state: JobState) -> int:
        return sum(status.state is state for status in queue.jobs())

    wait_until(lambda: count(JobState.RUNNING) == 2, "two jobs run")
    queued = queue.jobs(states=["queued"])
    assert len(queued) == 4
    wait_until(
        lambda: all(
            "Not Running" in str(s.note) for s in queue.jobs(states=["queued"])
        ),
        "the reason is told",
    )
    gate.open()
    ended = dict(queue.as_completed([f"job{number}" for number in range(6)], 90))
    assert {(s.state, s.exit_code) for s in ended.values()} == {(JobState.FINISHED, 3)}


@each_dialect
def test_qsig_reaches_script_once(
    queue: tej.RemoteQueue, job: Make, gate: Gate, queue_path: Path
) -> None:
    script = f"trap 'echo usr1' USR1; echo begun; {gate.wait}; exit 4"
    queue.submit("warned", job(f"#PBS -W sandbox=PRIVATE\n{script}"))
    wait_until(lambda: output(queue, "warned") == "begun\n", "the trap is set")
    native_id = (queue_path / "jobs/warned/native_id").read_text().split()[1]
    run("qsig", "-s", "SIGUSR1", native_id)
    wait_until(lambda: "usr1" in output(queue, "warned"), "the trap runs")
    gate.open()
    status = queue.job("warned").wait(90)
    assert (status.exit_code, status.cut_off) == (4, None)
    assert output(queue, "warned") == "begun\nusr1\n"


@each_dialect
def test_one_query_serves_all_jobs(
    queue: tej.RemoteQueue, pbs: Path, job: Make, queue_path: Path
) -> None:
    (pbs / "slots").write_text("0")
    specs = (tej.JobSpec(job(), job_id=f"job{n}") for n in range(5))
    assert [outcome.error for outcome in queue.submit_many(specs)] == [None] * 5
    (queue_path / "scheduler/listing").unlink(missing_ok=True)
    before = (pbs / "calls").read_text().count("qstat")
    assert len(queue.jobs()) == 5
    queue.status("job3")
    asked = (pbs / "calls").read_text().count("qstat") - before
    # OpenPBS without history needs a second query.
    assert asked <= 2


@pytest.mark.parametrize("pbs", ["openpbs"], indirect=True)
def test_wait_reports_each_end(
    queue: tej.RemoteQueue, job: Make, tmp_path: Path
) -> None:
    gates = [Gate(tmp_path / f"gate{number}") for number in range(2)]
    for number, gate in enumerate(gates):
        queue.submit(f"job{number}", job(gate.wait, name=f"job{number}"))
    ended = queue.as_completed(["job0", "job1"], 90)
    for number, gate in enumerate(gates):
        wait_until(
            lambda: queue.status(f"job{number}").state is JobState.RUNNING,
            "the job runs",
        )
        gate.open()
        assert next(ended)[0] == f"job{number}"


@each_dialect
def test_kill_keeps_the_grace_period(
    queue: tej.RemoteQueue, job: Make, gate: Gate, queue_path: Path
) -> None:
    script = f"trap 'echo cleaned; exit 9' TERM; echo begun; {gate.wait}"
    queue.submit("polite", job(script))
    wait_until(lambda: output(queue, "polite") == "begun\n", "the trap is set")
    queue.kill("polite", grace=77)
    assert words_of(queue_path / "jobs/polite", "kill")[1] == "77"


@each_dialect
def test_queued_or_running_job_is_killed(
    queue: tej.RemoteQueue, job: Make, gate: Gate, tmp_path: Path
) -> None:
    check_kill_of_third_job_on_two_slots(queue, job, gate, tmp_path / "ran")


def test_qdel_by_others_is_reported(
    queue: tej.RemoteQueue, pbs: Path, job: Make, gate: Gate, queue_path: Path
) -> None:
    # The list contains other jobs besides the requested job.
    queue.submit("other", job(gate.wait, name="other"))
    queue.submit("victim", job(f"echo begun; {gate.wait}"))
    wait_until(lambda: output(queue, "victim") == "begun\n", "the job runs")
    native = scheduler_id_of(queue_path / "jobs/victim")
    run("qdel", native)
    status = until(queue, "victim", lambda status: status.state.final)
    if (pbs / "history").exists():
        assert status.state is JobState.KILLED
        assert "not by tej" in status.describe()
    else:
        # Without history, only the job knows that it got a SIGTERM.
        assert (status.state, status.signal) == (JobState.FINISHED, 15)
        assert "SIGTERM" in str(status.note)
    assert (status.cut_off, status.succeeded) == ("other", False)


@each_dialect
def test_silent_server_ends_no_job(
    queue: tej.RemoteQueue, pbs: Path, job: Make, gate: Gate, queue_path: Path
) -> None:
    queue.submit("running", job(f"echo begun; {gate.wait}; exit 5"))
    wait_until(lambda: output(queue, "running") == "begun\n", "the job runs")
    (pbs / "down").touch()
    (queue_path / "scheduler/listing").unlink(missing_ok=True)
    status = queue.status("running")
    assert status.state is JobState.RUNNING
    assert "does not answer" in str(status.note)
    gate.open()
    assert queue.job("running").wait(90).exit_code == 5


def test_recorded_end_waits_briefly_for_cause(
    queue: tej.RemoteQueue, pbs: Path, job: Make, gate: Gate, queue_path: Path
) -> None:
    script = f"trap 'exit 3' TERM; echo begun; {gate.wait}"
    queue.submit("victim", job(script))
    wait_until(lambda: output(queue, "victim") == "begun\n", "the trap is set")
    facts = queue_path / "jobs/victim"
    (pbs / "down").touch()
    # The scheduler would have done the same before its failure.
    pid = script_of(facts)
    os.kill(os.getsid(pid), signal.SIGTERM)
    os.kill(pid, signal.SIGTERM)
    wait_until((facts / "finished").exists, "the job has ended")
    assert who_ended(facts) == "ask"
    (queue_path / "scheduler/listing").unlink(missing_ok=True)
    status = queue.status("victim")
    assert status.state is JobState.RUNNING
    assert "reports no reason" in str(status.note)
    set_age(600, facts / "finished")
    status = queue.status("victim")
    assert (status.state, status.exit_code) == (JobState.FINISHED, 3)
    assert "did not answer" in str(status.note)
    (pbs / "down").unlink()
    assert queue.status("victim") == status
    queue.delete("victim")


def test_job_over_before_qsub_returns_is_finished(
    queue: tej.RemoteQueue, pbs: Path, job: Make
) -> None:
    (pbs / "slow").touch()
    queue.submit("quick", job("exit 4"))
    status = queue.status("quick")
    assert (status.state, status.exit_code) == (JobState.FINISHED, 4)


@each_dialect
def test_job_with_lost_submission_reply_is_found(
    queue: tej.RemoteQueue, pbs: Path, job: Make, gate: Gate, tmp_path: Path
) -> None:
    (pbs / "mute").touch()
    queue.submit("found", job(f"echo ran >>'{tmp_path}/runs'; {gate.wait}"))
    gate.open()
    assert queue.job("found").wait(90).exit_code == 0
    assert (tmp_path / "runs").read_text() == "ran\n"
    submitted = [
        line
        for line in (pbs / "calls").read_text().splitlines()
        if line.startswith("qsub -") and "--version" not in line
    ]
    assert len(submitted) == 1


@pytest.mark.parametrize("pbs", ["openpbs"], indirect=True)
def test_requeued_job_does_not_run_twice(
    queue: tej.RemoteQueue, pbs: Path, job: Make, gate: Gate, queue_path: Path
) -> None:
    queue.submit("again", job(f"trap '' TERM; echo begun; {gate.wait}"))
    wait_until(lambda: output(queue, "again") == "begun\n", "the job runs")
    native = scheduler_id_of(queue_path / "jobs/again")
    assert "190" in run("sh", "-c", f"qrerun {native}; echo $?", check=False)
    run("qrerun", "-W", "force", native)
    wait_until((queue_path / "jobs/again/rerun").exists, "the job was started again")
    missed = queue_path / "jobs/again/missed"
    facts = missed.parent
    expire_heartbeat(facts)
    until(queue, "again", lambda _: missed.exists())
    pass_time(facts)
    set_age(60, missed)
    status = until(queue, "again", lambda status: status.state.final)
    assert status.state is JobState.LOST
    assert "a second time" in str(status.evidence)
    assert output(queue, "again") == "begun\n"


def change_job(pbs: Path, number: str, **changes: str) -> dict[str, Any]:
    """Change what the double of PBS reports about a job, whose processes continue.

    Returns what the double reports.
    """
    with (pbs / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        jobs: dict[str, dict[str, Any]] = json.loads((pbs / "jobs.json").read_text())
        jobs[number] |= changes
        (pbs / "jobs.json").write_text(json.dumps(jobs))
    return jobs[number]


@pytest.mark.parametrize("pbs", ["openpbs"], indirect=True)
def test_exit_code_survives_unreadable_directory(
    queue: tej.RemoteQueue, pbs: Path, job: Make, gate: Gate, queue_path: Path
) -> None:
    # The wrapper lists the directory after it has failed to record the end.
    tried = pbs / "tried"
    ls = Path(os.environ["PATH"].partition(":")[0], "ls")
    ls.write_text(f"#!/bin/sh\n: >'{tried}'\nexec {shutil.which('ls')} \"$@\"\n")
    ls.chmod(0o755)
    transport = unprivileged()
    queue = tej.RemoteQueue("local:", str(queue_path), "pbs", transport=transport)
    queue.submit("job", job(f"echo begun; {gate.wait}; exit 7"))
    wait_until(lambda: output(queue, "job") == "begun\n", "the job runs")
    facts = queue_path / "jobs/job"
    tried.unlink(missing_ok=True)
    facts.chmod(0)
    try:
        gate.open()
        wait_until(
            lambda: tried.exists() or change_job(pbs, "1")["state"] == "F",
            "the wrapper has tried to record the end",
        )
    finally:
        facts.chmod(0o700)
    assert queue.job("job").wait(90).exit_code == 7


@pytest.mark.parametrize("pbs", ["openpbs with history"], indirect=True)
@pytest.mark.parametrize("requeue", [False, True])
def test_kill_waits_for_processes_on_lost_node(
    queue: tej.RemoteQueue,
    pbs: Path,
    job: Make,
    gate: Gate,
    queue_path: Path,
    requeue: bool,
) -> None:
    resources = tej.Resources(requeue=requeue)
    queue.submit("cut", job(f"echo begun; {gate.wait}; exit 5"), resources=resources)
    wait_until(lambda: output(queue, "cut") == "begun\n", "the job runs")
    # PBS has given up the node, on which the job continues.
    (pbs / "slots").write_text("0")
    if requeue:
        change_job(pbs, "1", state="Q")
    else:
        change_job(pbs, "1", state="F", status="-20")
    queries = (pbs / "calls").read_text
    with ThreadPoolExecutor() as pool:
        killed = pool.submit(queue.kill, "cut")
        wait_until((queue_path / "jobs/cut/ending").exists, "the kill is requested")
        before = queries().count("qstat")
        wait_until(lambda: queries().count("qstat") > before + 2, "the kill waits")
        gate.open()
        status = killed.result()
    assert (status.state, status.exit_code) == (JobState.KILLED, 5)


@pytest.mark.parametrize("pbs", ["openpbs with history"], indirect=True)
def test_job_moved_to_another_server_keeps_its_state(
    queue: tej.RemoteQueue, pbs: Path, job: Make, gate: Gate, queue_path: Path
) -> None:
    (pbs / "slots").write_text("0")
    for name in ("moved", "deleted"):
        queue.submit(name, job(f"echo begun; {gate.wait}; exit 4", name=name))
        native = scheduler_id_of(queue_path / "jobs" / name)
        run("qmove", "workq@other", native)
    assert "Not Running" in str(queue.status("moved").note)
    run("qdel", native)
    status = until(queue, "deleted", lambda status: status.state.final)
    assert status.state is JobState.KILLED
    (pbs / "slots").write_text("2")
    until(queue, "moved", lambda status: status.state is JobState.RUNNING)
    assert queue.status("moved").note is None
    (pbs / "other down").touch()
    forget_listing(queue_path)
    status = queue.status("moved")
    assert status.state is JobState.RUNNING
    assert "does not answer" in str(status.note)
    assert not (queue_path / "jobs/moved/missed").exists()
    gate.open()
    assert queue.job("moved").wait(90).exit_code == 4


@pytest.mark.parametrize("pbs", ["openpbs"], indirect=True)
def test_two_servers_may_use_one_number(
    queue: tej.RemoteQueue, pbs: Path, job: Make, queue_path: Path
) -> None:
    (pbs / "slots").write_text("0")
    queue.submit("one", job())
    queue.submit("two", job(), resources=tej.Resources(partition="workq@other"))
    forget_listing(queue_path)
    one, two = sorted(queue.jobs(), key=lambda status: status.job_id)
    assert "pbs 1.pbs-server: Not Running" in str(one.note)
    assert "pbs 1.other: Not Running" in str(two.note)
    run("qdel", "1.other")
    forget_listing(queue_path)
    assert "pbs 1.pbs-server: Not Running" in str(queue.status("one").note)
    # The qsub of a site may have printed the number alone.
    (queue_path / "jobs/one/native_id").write_text("pbs 1\n")
    for _ in range(2):
        assert "pbs 1: Not Running" in str(queue.status("one").note)
        forget_listing(queue_path)


def test_exit_0_after_time_limit_is_no_success(
    queue: tej.RemoteQueue, pbs: Path, job: Make, gate: Gate
) -> None:
    script = f"trap 'exit 0' TERM; {gate.wait}"
    queue.submit("endless", job(script), resources=tej.Resources(walltime="0:00:02"))
    status = until(queue, "endless", lambda status: status.state.final)
    assert (status.state, status.exit_code) == (JobState.FINISHED, 0)
    assert not status.succeeded
    # Without history, only the message of PBS in the job's log contains the limit.
    history = (pbs / "history").exists() or "torque" in os.environ["PBS_DOUBLE"]
    words = "time limit" if history else "walltime 3 exceeded limit 2"
    assert words in str(status.note)
    assert status.cut_off == "limit"


@pytest.mark.parametrize("pbs", ["openpbs"], indirect=True)
@pytest.mark.parametrize("name", ["an é path", "user@host", "one,two"])
def test_grace_holds_below_odd_queue_path(
    pbs: Path, tmp_path: Path, home: Path, job: Make, gate: Gate, name: str
) -> None:
    path = tmp_path / name
    queue = tej.RemoteQueue("local:", str(path), "pbs")
    try:
        script = f"trap 'sleep 0.5; exit 9' TERM; echo begun; {gate.wait}"
        queue.submit("tidy", job(f"#PBS -l walltime=1:00:00\n{script}"))
        wait_until(lambda: output(queue, "tidy") == "begun\n", "the trap is set")
        assert "walltime=1:00:00" in (pbs / "calls").read_text()
        assert queue.kill("tidy", grace=60).exit_code == 9
    finally:
        empty(path)


@pytest.mark.parametrize("pbs", ["openpbs"], indirect=True)
def test_held_and_delayed_jobs_tell_why(
    queue: tej.RemoteQueue, pbs: Path, job: Make, queue_path: Path
) -> None:
    queue.submit("held", job("#PBS -h\nexit 3"))
    begin = tej.Resources(begin="2099-01-01T10:00")
    queue.submit("later", job("true"), resources=begin)
    assert "held (Hold_Types = u)" in str(queue.status("held").note)
    assert "waits until Fri Nov 27 10:00:00 2026" in str(queue.status("later").note)
    assert queue.kill("later").state is JobState.KILLED
    (pbs / "down").touch()
    with pytest.raises(tej.JobStillRunning, match="'held' is still queued"):
        queue.kill("held")
    (pbs / "down").unlink()
    status = until(queue, "held", lambda status: status.state.final)
    assert status.state is JobState.KILLED


@pytest.mark.parametrize("pbs", ["openpbs"], indirect=True)
def test_exclusive_job_requests_select(
    queue: tej.RemoteQueue, pbs: Path, job: Make
) -> None:
    exclusive = tej.Resources(exclusive=True)
    queue.submit("alone", job("true"), resources=exclusive)
    queue.submit("chosen", job("#PBS -l select=1:ncpus=2\ntrue"), resources=exclusive)
    calls = (pbs / "calls").read_text()
    assert "-l select=1:ncpus=1,place=excl" in calls
    assert "-l place=excl" in calls
    with pytest.raises(tej.RemoteCommandFailure, match="add --nodes or --cpus"):
        queue.submit("old", job("#PBS -l nodes=1:ppn=2\ntrue"), resources=exclusive)
    with pytest.raises(tej.RemoteCommandFailure, match="illegal -N value$"):
        queue.submit("named", job("#PBS -N a%b\ntrue"))
    assert queue.job("alone").wait(90).succeeded
    assert queue.job("chosen").wait(90).succeeded


@each_dialect
def test_array_directive_is_refused(queue: tej.RemoteQueue, job: Make) -> None:
    for line in ("-J 1-3", "-t 0-4%2", "-t1,2"):
        with pytest.raises(tej.RemoteCommandFailure, match="a job array"):
            queue.submit("array", job(f"#PBS {line}\ntrue"))
    with pytest.raises(tej.RemoteCommandFailure, match="wait for the job"):
        queue.submit("array", job("#PBS -r n -W umask=022,block=true\ntrue"))
    assert queue.jobs() == []
    queue.submit("plain", job("#PBS -N my-job -l walltime=1:00:00\ntrue"))
    assert queue.job("plain").wait(90).succeeded


@each_dialect
def test_pbs_is_detected_by_default(pbs: Path, queue_path: Path, home: Path) -> None:
    # The search also covers the PATH of a login shell.
    (home / ".profile").write_text(f"PATH='{os.environ['PATH']}'\n")
    found = tej.RemoteQueue("local:", str(queue_path))
    found.setup()
    assert "runtime pbs\n" in (queue_path / "version").read_text()


@pytest.mark.parametrize("pbs", ["openpbs"], indirect=True)
def test_pbs_is_found_through_login_shell(
    queue: tej.RemoteQueue,
    pbs: Path,
    home: Path,
    job: Make,
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (home / ".profile").write_text(f"PATH='{os.environ['PATH']}'\n")
    monkeypatch.setenv("PATH", os.environ["PATH"].partition(":")[2])
    queue.submit("first", job(f"{gate.wait}; exit 3"))
    # The result is recorded, and the search is not repeated.
    (home / ".profile").unlink()
    assert queue.status("first").runtime == "pbs"
    gate.open()
    assert queue.job("first").wait(90).exit_code == 3


@each_dialect
def test_dry_run_shows_options_and_submits_nothing(
    queue: tej.RemoteQueue,
    pbs: Path,
    job: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queue.setup()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    script = "#PBS -l mem=4gb -q short\ntrue\n#PBS -q long"

    def plan(**resources: object) -> ServerPlan:
        wanted = tej.Resources(**resources)  # type: ignore[arg-type]
        spec = tej.JobSpec(job(script), resources=wanted)
        work = read_job(queue.connection, spec, is_signed=True)
        return plan_on_server(queue.connection, work, is_new=False)

    found = plan(nodes=2, memory="1G")
    assert (found.runtime, found.existing, found.refusal) == ("pbs", None, None)
    # The memory in the script's directive is replaced.
    assert found.directives == ["#PBS -q short"]
    assert found.batch is not None
    assert found.batch[:2] == ["#!/bin/sh", "#PBS -q short"]
    assert "/run_in_scheduler.sh'" in found.batch[-1]
    words = {"torque": "nodes=2:ppn=1,mem=2048mb"}
    dialect = os.environ["PBS_DOUBLE"].partition(":")[0]
    assert found.options is not None
    position = found.options.index("-l")
    assert found.options[position + 1] == words.get(
        dialect, "select=2:ncpus=1:mem=1024mb"
    )
    assert "'qos'" in str(plan(qos="high").refusal)
    assert queue.jobs() == []
    assert "qsub -l" not in (pbs / "calls").read_text()
    assert list((tmp_path / "temporary").iterdir()) == []


@each_dialect
def test_resources_become_pbs_options(
    queue: tej.RemoteQueue, pbs: Path, job: Make
) -> None:
    wanted = tej.Resources(
        nodes=2, cpus=4, memory="1G", gpus=1, walltime="1:30:00", partition="long"
    )
    queue.submit("asks", job("true"), resources=wanted)
    call = next(
        line
        for line in (pbs / "calls").read_text().splitlines()
        if line.startswith("qsub -") and " -l " in line
    )
    words = (
        "nodes=2:ppn=4:gpus=1,mem=2048mb"
        if "torque" in os.environ["PBS_DOUBLE"]
        else "select=2:ncpus=4:mem=1024mb:ngpus=1"
    )
    assert f"-l {words},walltime=1:30:00" in call
    assert "-q long" in call
    assert " -k n " in call
    with pytest.raises(tej.RemoteCommandFailure, match="Unknown queue"):
        queue.submit("odd", job(), resources=tej.Resources(partition="nowhere"))
    assert queue.job("asks").wait(90).succeeded
