"""Commands that run on the server when a job has ended (`on_end`)."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from facts import script_of, wrapper_of
from jobs import Gate, is_alive, wait_until

import tej

Make = Callable[..., Path]


def test_on_end_runs_once_however_job_ended(
    local_queue: tej.RemoteQueue,
    job: Make,
    gate: Gate,
    queue_path: Path,
    tmp_path: Path,
) -> None:
    told = tmp_path / "told"
    words = '"$TEJ_JOB_ID $TEJ_JOB_STATE $TEJ_JOB_EXIT_CODE. $WORD"'
    options = {
        "on_end": f"echo {words} >>'{told}'; pwd; echo $TEJ_JOB_NAME; exit 4",
        "environment": {"WORD": "it's"},
    }
    directory = job(f"{gate.wait}; exit 3", name="my job")
    for job_id in ("failed", "killed", "lost"):
        local_queue.submit(job_id, directory, **options)
    local_queue.submit("never", job("true"), after=["failed"], **options)
    local_queue.submit("untold", job("true"))
    local_queue.kill("killed", grace=0)
    lost = queue_path / "jobs/lost"
    wait_until((lost / "started").exists, "the job to be lost has started")
    pids = [wrapper_of(lost), script_of(lost)]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, pids)), "both processes are gone")
    # The first client that finds the job lost starts the command.
    wait_until(lambda: local_queue.status("lost").state is tej.JobState.LOST)
    gate.open()
    local_queue.wait(["failed", "never", "untold"])

    def lines() -> list[str]:
        local_queue.jobs()
        return sorted(told.read_text().splitlines()) if told.exists() else []

    wait_until(lambda: len(lines()) >= 4, "all four jobs are reported")
    assert lines() == [
        "failed finished 3. it's",
        "killed killed . it's",
        "lost lost . it's",
        "never killed . it's",
    ]
    end = b"tej: the command of --on-end ended with exit code 4\n"
    wait_until(lambda: local_queue.on_end_log("failed").endswith(end))
    stage = queue_path / "jobs/failed/stage"
    assert local_queue.on_end_log("failed") == f"{stage}\nmy job\n".encode() + end
    with pytest.raises(tej.DownloadFailed, match="without --on-end"):
        local_queue.on_end_log("untold")


def test_on_end_delays_neither_end_nor_next_job(
    local_queue: tej.RemoteQueue, job: Make, gate: Gate
) -> None:
    local_queue.setup(max_running=1)
    directory = job("true")
    local_queue.submit("a", directory, on_end=f"{gate.wait}; echo done")
    local_queue.submit("b", directory)
    local_queue.wait(["a", "b"])
    status = local_queue.kill("a")
    assert (status.state, status.processes_left) == (tej.JobState.FINISHED, 0)
    gate.open()
    wait_until(lambda: local_queue.on_end_log("a") == b"done\n")


def test_on_end_that_hangs_is_stopped(
    local_queue: tej.RemoteQueue, job: Make, gate: Gate, queue_path: Path
) -> None:
    local_queue.setup()
    (script,) = queue_path.glob("scripts/*/run_on_end.sh")
    script.write_text(script.read_text().replace("on_end_limit=60", "on_end_limit=1"))
    hang = f"trap '' HUP; ({gate.wait}) & {gate.wait}"
    local_queue.submit("a", job("true"), on_end=hang)
    assert local_queue.job("a").wait().succeeded
    end = b"tej: the command of --on-end was stopped after 1 seconds\n"
    wait_until(lambda: local_queue.on_end_log("a").endswith(end))
