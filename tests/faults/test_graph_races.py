"""Races of dependent jobs with ends, submissions, retries and deaths of processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from faults.faulty_servers import Doubles
from faults.test_shells_that_die import doing
from jobs import Gate, end_processes_of, processes_of, wait_until

import tej
from tej import JobState

Make = Callable[..., Path]


@pytest.fixture
def counted(job: Make, tmp_path: Path) -> Callable[..., Path]:
    """Return a job that records each of its starts in `starts`."""
    line = f"echo $TEJ_JOB_ID >>'{tmp_path}/starts'"
    return lambda script="true": job(f"{line}; {script}")


def starts(tmp_path: Path) -> list[str]:
    path = tmp_path / "starts"
    return path.read_text().split() if path.exists() else []


def test_dependency_ends_while_its_dependent_is_published(
    queue: tej.RemoteQueue,
    queue_path: Path,
    counted: Make,
    gate: Gate,
    doubles: Doubles,
    tmp_path: Path,
) -> None:
    directory = counted(gate.wait)
    queue.submit("a", directory)
    for name, when in (
        ("b", {"before": "*incoming*jobs/b"}),
        ("c", {"after": "*incoming*jobs/c"}),
    ):
        hold = doubles.hold("mv", **when)
        with doing(lambda name=name: queue.submit(name, directory, after=["a"])):
            hold.wait()
            gate.open()
            wait_until((queue_path / "jobs/a/finished").exists, "the job has ended")
            wait_until(
                lambda: len(processes_of(queue_path)) <= 2, "the wrapper is gone"
            )
            hold.release()
        assert queue.wait([name])[name].succeeded
        doubles.remove("mv")
    assert starts(tmp_path) == ["a", "b", "c"]


def test_failed_submission_keeps_job_that_another_process_started(
    queue: tej.RemoteQueue,
    queue_path: Path,
    counted: Make,
    gate: Gate,
    doubles: Doubles,
    tmp_path: Path,
) -> None:
    queue.submit("a", counted())
    full = tmp_path / "full"
    doubles.add("mkdir", f'[ ! -e \'{full}\' ] || exit 1; exec "$real" "$@"')
    hold = doubles.hold("mv", after="*incoming*jobs/b")
    with doing(lambda: queue.submit("b", counted(gate.wait), after=["a"])) as result:
        hold.wait()
        # The job is published: this request starts it. The submission fails afterwards.
        queue.jobs()
        wait_until(lambda: "b" in starts(tmp_path), "the job has started")
        full.touch()
        hold.release()
    full.unlink()
    gate.open()
    assert result.result() == "b"
    assert queue.wait(["b"])["b"].succeeded
    assert starts(tmp_path) == ["a", "b"]


def test_dependencies_that_end_together_start_it_once(
    queue: tej.RemoteQueue, counted: Make, gate: Gate, tmp_path: Path
) -> None:
    directory = counted(gate.wait)
    ids = [f"a{number}" for number in range(8)]
    specs = [tej.JobSpec(directory, job_id=name) for name in ids]
    specs += [tej.JobSpec(directory, job_id=f"z{n}", after=ids) for n in range(3)]
    queue.submit_many(specs)
    wait_until(lambda: len(starts(tmp_path)) == 8, "the jobs run")
    gate.open()
    queue.wait(["z0", "z1", "z2"])
    assert sorted(starts(tmp_path)) == [*ids, "z0", "z1", "z2"]


@pytest.mark.parametrize("look", ["status", "wait", "submit"])
def test_any_request_starts_job_of_dead_wrapper(
    look: str,
    queue: tej.RemoteQueue,
    queue_path: Path,
    counted: Make,
    gate: Gate,
    tmp_path: Path,
) -> None:
    directory = counted(gate.wait)
    queue.submit("a", directory)
    queue.submit("b", directory, after=["a"])
    # A process holds the lock of the start, and dies before it starts the job.
    with subprocess.Popen(["sleep", "100"]) as sleeper:
        words = (queue_path / "jobs/b/submitted").read_text().split()[1:4]
        stat = Path(f"/proc/{sleeper.pid}/stat").read_text().rpartition(")")[2].split()
        lock = queue_path / "jobs/b/.starting"
        lock.symlink_to(f"1700000000 {' '.join(words)} {sleeper.pid} {stat[19]}")
        gate.open()
        wait_until((queue_path / "jobs/a/finished").exists, "the first job has ended")
        wait_until(lambda: not processes_of(queue_path), "the wrapper is gone")
        assert queue.status("b").state is JobState.QUEUED
        sleeper.send_signal(signal.SIGKILL)
    if look == "wait":
        queue.wait(["b"])
    elif look == "submit":
        queue.submit("c", directory)
    else:
        queue.status("a")
    wait_until((queue_path / "jobs/b/finished").exists, "the second job has ended")
    assert starts(tmp_path).count("b") == 1


def test_wrapper_that_dies_before_its_claim_is_replaced(
    queue: tej.RemoteQueue,
    queue_path: Path,
    counted: Make,
    doubles: Doubles,
    tmp_path: Path,
) -> None:
    directory = counted()
    queue.submit("a", directory)
    queue.wait(["a"])
    hold = doubles.hold("setsid", before="*run_detached.sh*b*")
    queue.submit("b", directory, after=["a"])
    hold.wait()
    doubles.remove("setsid")
    end_processes_of(queue_path)
    with contextlib.suppress(ProcessLookupError):
        os.kill(int((hold.reached / "caller").read_text()), signal.SIGKILL)
    assert queue.wait(["b"])["b"].succeeded
    assert starts(tmp_path) == ["a", "b"]
    hold.release()


def test_dependent_outlives_the_retry_of_its_dependency(
    queue: tej.RemoteQueue,
    queue_path: Path,
    counted: Make,
    gate: Gate,
    doubles: Doubles,
    tmp_path: Path,
) -> None:
    directory = counted(gate.wait)
    queue.ensure(directory, job_id="a")
    queue.submit("b", directory, after=["a"])
    wait_until(lambda: starts(tmp_path) == ["a"], "the first job runs")
    # No request has recorded yet that the first job is lost.
    end_processes_of(queue_path)
    hold = doubles.hold("mv", before="*incoming*jobs/a")
    with doing(lambda: queue.ensure(directory, job_id="a", retry=True)):
        hold.wait()
        assert not (queue_path / "jobs/a").exists()
        other = tej.RemoteQueue("local:", str(queue_path))
        assert other.status("b").state is JobState.QUEUED
        hold.release()
    gate.open()
    assert queue.wait(["b"])["b"].succeeded
    assert starts(tmp_path) == ["a", "a", "b"]


def test_retry_that_would_wait_for_itself_is_refused(
    queue: tej.RemoteQueue, queue_path: Path, counted: Make, gate: Gate
) -> None:
    directory = counted(gate.wait)
    queue.submit("a", directory)
    queue.submit("b", directory, after=["a"])
    queue.submit("c", directory, after=["b"])
    wait_until((queue_path / "jobs/a/started").exists, "the first job runs")
    end_processes_of(queue_path)
    # `restarting` keeps the others waiting for the job that is replaced.
    (queue_path / "jobs/a/lost").write_text("1700000000 its machine is gone\n")
    with pytest.raises(tej.RemoteCommandFailure, match="would wait for each other"):
        queue.ensure(directory, job_id="a", after=["c"], retry=True)
    assert queue.wait(["c"])["c"].note == "not started: b was killed"


def test_vanished_dependency_is_not_waited_for(
    queue: tej.RemoteQueue, queue_path: Path, counted: Make, gate: Gate
) -> None:
    directory = counted(gate.wait)
    queue.submit("a", directory)
    queue.submit("b", directory, after=["a"])
    end_processes_of(queue_path)
    shutil.rmtree(queue_path / "jobs/a")
    status = queue.wait(["b"])["b"]
    assert (status.state, status.note) == (
        JobState.KILLED,
        "not started: a was deleted",
    )


def test_reboot_loses_no_waiting_job(
    queue: tej.RemoteQueue, queue_path: Path, counted: Make, gate: Gate
) -> None:
    directory = counted(gate.wait)
    for name in ("a", "good"):
        queue.submit(name, directory)
        queue.submit(f"after-{name}", directory, after=[name])
    wait_until((queue_path / "jobs/a/started").exists, "the job runs")
    wait_until((queue_path / "jobs/good/started").exists, "the job runs")
    end_processes_of(queue_path)
    # The facts are from an earlier boot, in which locks were held.
    for name in ("a", "good"):
        native = queue_path / "jobs" / name / "native_id"
        words = native.read_text().split()
        words[2] = "another-boot"
        native.write_text(" ".join(words) + "\n")
        os.utime(queue_path / "jobs" / name / "heartbeat", (1e9, 1e9))
        lock = queue_path / f"jobs/after-{name}/.starting"
        lock.symlink_to(f"1000000000 {' '.join(words[1:])}")
        os.utime(lock, (1e9, 1e9), follow_symlinks=False)
    (queue_path / "jobs/good/finished").write_text("1000000000 exit 0 own 0\n")
    gate.open()
    ended = queue.wait(["after-a", "after-good"])
    assert ended["after-a"].note == "not started: a is lost"
    assert ended["after-good"].succeeded


def test_kill_while_inputs_are_copied_ends_the_job(
    queue: tej.RemoteQueue,
    queue_path: Path,
    counted: Make,
    doubles: Doubles,
    tmp_path: Path,
) -> None:
    directory = counted("echo data >file")
    queue.submit("a", directory)
    queue.wait(["a"])
    hold = doubles.hold("cp", before="*jobs/a/stage/file*")
    queue.submit("b", directory, inputs={"file": "a:file"})
    hold.wait()
    assert queue.status("b").state is JobState.QUEUED
    with pytest.raises(tej.JobStillRunning):
        queue.delete("a")
    assert queue.kill("b", grace=5).state is JobState.KILLED
    assert starts(tmp_path) == ["a"]
    queue.delete("a")
