"""Lost jobs: reported with the evidence, and only if the outcome cannot be known."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from clocks import set_age
from facts import beat_of, set_word, wrapper_of
from faults.conftest import Victim
from faults.faulty_servers import Doubles, mounted, open_queue, unprivileged
from faults.test_shells_that_die import HOPELESS, PUBLISH, doing, shell_of_the_job
from jobs import (
    Gate,
    end_processes_of,
    is_alive,
    wait_until,
    wait_until_ended,
    wait_until_printed,
    wait_until_started,
    wrappers_of,
)

import tej
from tej import JobState
from tej.transport.local import LocalTransport

Make = Callable[..., Path]
Require = Callable[[str], None]
OTHER_BOOT = "00000000-0000-0000-0000-000000000000"


def crash(queue_path: Path, job_id: str) -> None:
    """Kill the wrapper, the script and all other processes of a job at once."""
    wait_until_started(queue_path, job_id)
    wrapper = wrapper_of(queue_path / "jobs" / job_id)
    os.kill(wrapper, signal.SIGKILL)
    wait_until(lambda: not is_alive(wrapper), "the wrapper is gone")
    end_processes_of(queue_path)


def test_wrapper_of_lost_job_records_no_end_without_start(
    queue: tej.RemoteQueue, queue_path: Path, job: Make, doubles: Doubles
) -> None:
    queue.setup(max_running=1)  # so that `submit` does not wait for the start
    hold = doubles.hold("mv", before="*/native_id")
    queue.submit("job", job("touch ran"))
    hold.wait()
    set_age(100, queue_path / "jobs/job/claim")
    assert queue.status("job").state is JobState.LOST
    hold.release()
    wait_until(lambda: not wrappers_of(queue_path), "the wrapper has ended")
    status = queue.status("job")
    assert (status.state, status.exit_code) == (JobState.LOST, None)
    assert not Path(status.directory, "ran").exists()


def test_fully_killed_job_is_lost_and_id_reusable(
    queue: tej.RemoteQueue, queue_path: Path, job: Make, gate: Gate
) -> None:
    queue.submit("job", job(gate.wait))
    crash(queue_path, "job")
    status = queue.status("job")
    assert status.state is JobState.LOST
    assert "recorded no end" in (status.evidence or "")
    assert queue.status("job") == status
    queue.delete("job")
    queue.submit("job", job("exit 5"))
    wait_until_ended(queue, "job")
    assert queue.status("job").exit_code == 5


def restart(facts: Path) -> None:
    """Change the facts of a job as after a power cut: they are from an earlier boot."""
    for fact in ("submitted", "native_id"):
        if (facts / fact).exists():
            set_word(facts, fact, 2, OTHER_BOOT)
    if (facts / "heartbeat").exists():
        set_age(10**8, facts / "heartbeat")


def test_reboot_loses_running_job(
    queue: tej.RemoteQueue, queue_path: Path, job: Make, gate: Gate
) -> None:
    queue.submit("job", job(gate.wait))
    crash(queue_path, "job")
    restart(queue_path / "jobs/job")
    status = queue.status("job")
    assert status.state is JobState.LOST
    assert "restarted" in (status.evidence or "")
    assert queue.kill("job").state is JobState.LOST
    queue.delete("job")


def test_reboot_loses_job_that_was_not_started(
    queue: tej.RemoteQueue, queue_path: Path, victim: Victim, doubles: Doubles
) -> None:
    queue.setup()
    hold = doubles.hold("mv", after=PUBLISH)
    dying = tej.RemoteQueue("local:", str(queue_path), "default", retries=HOPELESS)
    with doing(lambda: dying.submit(victim.id, victim.directory)) as submission:
        hold.wait()
        shell_of_the_job(queue_path)
        restart(queue_path / "jobs/victim")
        hold.release()
    assert isinstance(submission.exception(), tej.ConnectionFailed)
    facts = queue_path / "jobs/victim/submitted"
    # For some time, another machine with the same name might still start the job.
    set_age(10_000, facts)
    status = queue.status("victim")
    assert status.state is JobState.LOST
    assert "before the job was started" in (status.evidence or "")
    queue.delete("victim")
    victim.check(queue)


@pytest.mark.parametrize("number", [6, 9, 11, 15])
def test_exit_code_above_128_is_no_signal(
    number: int, queue: tej.RemoteQueue, job: Make
) -> None:
    queue.submit("code", job(f"exit {128 + number}", name="code"))
    queue.submit("signal", job(f"kill -{number} $$; sleep 600", name="signal"))
    for job_id in ("code", "signal"):
        wait_until_ended(queue, job_id)
    code, killed = queue.status("code"), queue.status("signal")
    assert (code.state, code.exit_code, code.signal) == (
        JobState.FINISHED,
        128 + number,
        None,
    )
    assert (killed.state, killed.exit_code, killed.signal) == (
        JobState.FINISHED,
        None,
        number,
    )


def test_lost_job_stays_lost_until_it_reports(
    queue: tej.RemoteQueue, queue_path: Path, job: Make, gate: Gate
) -> None:
    queue.submit("job", job(gate.wait))
    crash(queue_path, "job")
    verdict = queue.status("job")
    assert verdict.state is JobState.LOST
    restart(queue_path / "jobs/job")
    assert queue.status("job").evidence == verdict.evidence
    (queue_path / "jobs/job/finished").write_text("1800000000 exit 0 own 0\n")
    assert queue.status("job").succeeded


@contextlib.contextmanager
def unreadable(directory: Path) -> Iterator[None]:
    directory.chmod(0)
    try:
        yield
    finally:
        directory.chmod(0o700)


def test_unreadable_job_is_neither_lost_nor_missing(
    queue_path: Path, job: Make, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The message of `ls`.
    monkeypatch.setenv("LC_ALL", "C")
    queue = open_queue(queue_path, unprivileged())
    queue.submit("job", job(f"echo begun; {gate.wait}"))
    wait_until_printed(queue_path, "job")
    with unreadable(queue_path / "jobs/job"):
        (status,) = queue.jobs()
        assert status == queue.status("job")
        assert not status.state.final
        assert "cannot be read" in str(status)
        with pytest.raises(tej.WaitTimeout):
            queue.wait(["job"], timeout=0.5)
        with pytest.raises(tej.JobStillRunning):
            queue.delete("job")
        with pytest.raises(tej.RemoteCommandFailure, match="cannot be entered"):
            list(queue.logs("job"))
        with pytest.raises(tej.RemoteCommandFailure, match="Cannot write"):
            queue.kill("job")
    with contextlib.ExitStack() as stack:
        for fact in ("spec", "submitted", "native_id", "started"):
            stack.enter_context(unreadable(queue_path / "jobs/job" / fact))
        assert "cannot be read" in str(queue.status("job"))
        assert not queue.status("job").state.final
    with unreadable(queue_path / "jobs"):
        for request in (
            queue.jobs,
            lambda: queue.status("job"),
            # A wait that has begun would be repeated for 10 minutes.
            lambda: open_queue(queue_path, unprivileged()).wait(["job"]),
            lambda: queue.kill("job"),
            lambda: queue.delete("job"),
            lambda: list(queue.logs("job")),
        ):
            with pytest.raises(tej.RemoteCommandFailure, match="Permission denied"):
                request()
    for part in ("jobs", "attempts"):
        with unreadable(queue_path / part):
            with pytest.raises(tej.RemoteCommandFailure, match="cannot be read"):
                queue.cleanup()
            with pytest.raises(tej.RemoteCommandFailure, match="cannot be read"):
                queue.setup(force=2)
    gate.open()
    assert queue.wait(["job"])["job"].succeeded


def test_wait_survives_a_missing_queue(
    queue: tej.RemoteQueue,
    queue_path: Path,
    job: Make,
    gate: Gate,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """For a client, a file system that is unmounted for a while looks like this."""
    queue.submit("job", job(gate.wait))
    queue.submit("short", job("true"))
    hidden = queue_path.with_name("hidden")
    ends = queue.as_completed(["job", "short"])
    assert next(ends)[0] == "short"
    with ThreadPoolExecutor() as pool:
        queue_path.rename(hidden)
        waiting = pool.submit(next, ends)
        try:
            wait_until(
                lambda: "missing now" in caplog.text or waiting.done(),
                "a failed request",
            )
        finally:
            hidden.rename(queue_path)
            gate.open()
        job_id, status = waiting.result()
    assert job_id == "job"
    assert status.succeeded
    assert "missing now" in caplog.text


def test_job_on_a_damaged_disk_is_neither_lost_nor_missing(
    require: Require, tmp_path: Path, job: Make
) -> None:
    """For the shell, a file whose inode cannot be read does not exist."""
    for part in ("root", "mount", "mkfs.ext4", "debugfs"):
        require(part)
    image, place = tmp_path / "image", tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(8 << 20)
    subprocess.run(["mkfs.ext4", "-qm0", "-O^has_journal", image], check=True)
    queue_path, jobs = place / "queue", ("job", "end", "native", "spec", "intact")
    script = job(
        f"echo started >>{tmp_path}/$TEJ_JOB_ID.log; cp in out", {"in": "file"}
    )
    with mounted("-o", "loop", image, place):
        queue = open_queue(queue_path, LocalTransport())
        for job_id in jobs:
            queue.submit(job_id, script)
        queue.wait(jobs)
        # A wrapper that still ends would keep the file system mounted.
        end_processes_of(queue_path)
        subprocess.run(["sync", "-f", place], check=True)
    # A mount namespace that another test has made meanwhile keeps the file system mounted, and a
    # second mount of the same image would show the files in its cache, which are not damaged.
    image = Path(shutil.copy(image, tmp_path / "damaged"))
    for part in ("job", "end/finished", "native/native_id", "native/finished"):
        damage(image, f"queue/jobs/{part}")
    for part in ("spec/spec", "intact/stage"):
        damage(image, f"queue/jobs/{part}")

    with mounted("-o", "loop", image, place):
        queue = open_queue(queue_path, LocalTransport())
        assert {status.job_id for status in queue.jobs()} == set(jobs)
        for job_id in jobs[:3]:
            status = queue.status(job_id)
            assert not status.state.final, job_id
            # Without its native id, a job that was submitted just now may still start.
            if job_id != "native":
                assert "cannot be read, so its state is unknown" in str(status)
            with pytest.raises(tej.WaitTimeout):
                queue.wait([job_id], timeout=0.1)
            with pytest.raises(tej.JobStillRunning):
                queue.delete(job_id)
        for job_id in ("job", "spec"):
            with pytest.raises(tej.RemoteCommandFailure, match="cannot be read"):
                queue.ensure(script, job_id=job_id, retry=True)
        found = queue.ensure(script, job_id="native", retry=True)
        assert not found.status().state.final
        for job_id in ("job", "intact"):
            for request in (
                lambda: list(queue.logs(job_id)),
                lambda: queue.download(job_id, "out", directory=tmp_path),
                lambda: queue.job(job_id).files(),
            ):
                with pytest.raises(tej.RemoteCommandFailure, match="cannot be"):
                    request()
        with pytest.raises(tej.JobNotFound):
            queue.status("other")
        with pytest.raises(tej.JobStillRunning):
            queue.cleanup()
        queue.submit("new", script, after=["job"])
        assert queue.status("new").state is JobState.QUEUED
        queue.kill("new", grace=0)
    for job_id in jobs:
        assert (tmp_path / f"{job_id}.log").read_text() == "started\n"


def damage(image: Path, path: str) -> None:
    """Clear the inode of a file in an ext4 image."""
    done = subprocess.run(
        ["debugfs", "-wR", f"clri {path}", image], capture_output=True, check=True
    )
    assert b"not found" not in done.stderr


def test_exit_code_survives_unreadable_directory(
    queue_path: Path, job: Make, gate: Gate
) -> None:
    queue = open_queue(queue_path, unprivileged())
    queue.submit("job", job(f"echo begun; {gate.wait}; exit 7"))
    wait_until_printed(queue_path, "job")
    facts = queue_path / "jobs/job"
    wrapper = wrapper_of(facts)

    def children() -> list[str]:
        pids = Path(f"/proc/{wrapper}/task/{wrapper}/children").read_text().split()
        return [Path(f"/proc/{pid}/comm").read_text() for pid in pids]

    def has_tried() -> bool:
        with contextlib.suppress(FileNotFoundError):
            return not is_alive(wrapper) or "sleep\n" in children()
        return not is_alive(wrapper)

    with unreadable(facts):
        gate.open()
        wait_until(has_tried, "the wrapper has tried to record the end")
    wait_until_ended(queue, "job")
    assert queue.status("job").exit_code == 7


@pytest.mark.usefixtures("impatient")
def test_wrapper_finds_its_restored_directory(
    queue: tej.RemoteQueue, queue_path: Path, job: Make, gate: Gate
) -> None:
    queue.submit("job", job(f"echo begun; {gate.wait}; exit 7"))
    wait_until_printed(queue_path, "job")
    facts, copy = queue_path / "jobs/job", queue_path / "copy"
    shutil.copytree(facts, copy)
    shutil.rmtree(facts)
    (copy / "heartbeat").write_text("1700000000\n")
    copy.rename(facts)
    wait_until(lambda: beat_of(facts) > 1700000000, "the heartbeat continues")
    gate.open()
    wait_until_ended(queue, "job")
    assert queue.status("job").exit_code == 7


def test_wrapper_of_removed_job_ends(
    queue: tej.RemoteQueue, queue_path: Path, job: Make, gate: Gate
) -> None:
    queue.submit("job", job(gate.wait))
    wait_until_started(queue_path, "job")
    wrapper = wrapper_of(queue_path / "jobs/job")
    shutil.rmtree(queue_path / "jobs/job")
    gate.open()
    wait_until(lambda: not is_alive(wrapper), "the wrapper has ended")


def test_reused_pid_is_not_the_wrapper(
    queue: tej.RemoteQueue, queue_path: Path, job: Make, gate: Gate
) -> None:
    queue.submit("job", job(gate.wait))
    crash(queue_path, "job")
    for fact, field in (("native_id", 4), ("started", 2)):
        path = queue_path / "jobs/job" / fact
        words = path.read_text().split()
        words[field] = str(os.getpid())
        path.write_text(" ".join(words) + "\n")
    # The unrelated process is this test, which a mistaken kill would end.
    assert queue.status("job").state is JobState.LOST
    queue.kill("job", grace=0)
    queue.delete("job")
