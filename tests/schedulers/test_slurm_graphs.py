"""Dependent jobs and the job limit, under a real Slurm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from jobs import Gate, wait_until
from schedulers.conftest import run

import tej

Make = Callable[..., Path]


def test_diamond_ends_without_a_client(
    queue: tej.RemoteQueue, job: Make, queue_path: Path
) -> None:
    directory = job("env | grep -c '^SLURM_JOB_ID='; cat in* >out; echo $1 >>out")
    files = ["left", "right"]
    top = tej.JobSpec(directory, "start.sh top", "top")
    sides = [
        tej.JobSpec(directory, f"start.sh {name}", name, inputs={"in": (top, "out")})
        for name in files
    ]
    inputs = {f"in{spec.job_id}": (spec, "out") for spec in sides}
    end = tej.JobSpec(directory, "start.sh end", "end", inputs=inputs)
    outcomes = queue.ensure_graph([end, *sides, top])
    assert [outcome.error for outcome in outcomes] == [None] * 4
    # The jobs themselves submit the next jobs to Slurm.
    wait_until((queue_path / "jobs/end/finished").exists, "the last job has ended")
    statuses = queue.wait(["top", *files, "end"])
    assert all(status.succeeded for status in statuses.values())
    assert len({status.native_id for status in statuses.values()}) == 4
    assert (queue_path / "jobs/end/stage/out").read_text().split() == [
        *("top", "left", "top", "right", "end")
    ]


def test_refused_job_ends_its_dependents(queue: tej.RemoteQueue, job: Make) -> None:
    queue.submit("first", job("true"))
    wrong = tej.Resources(partition="nowhere")
    queue.submit("refused", job("true"), after=["first"], resources=wrong)
    queue.submit("last", job("true"), after=["refused"])
    ended = queue.wait(["refused", "last"])
    assert "not started: slurm: " in str(ended["refused"].note)
    assert ended["last"].note == "not started: refused was killed"


def test_limit_keeps_jobs_from_slurm(
    queue: tej.RemoteQueue, job: Make, gate: Gate, queue_path: Path
) -> None:
    queue.setup(max_running=1)
    directory = job(gate.wait)
    ids = [queue.submit(name, directory) for name in ("a", "b", "c")]
    statuses = queue.statuses(ids).values()
    assert [bool(one and one.native_id) for one in statuses] == [True, False, False]
    queue.kill("c")
    # Without a client, the job that Slurm ends starts the next one.  A job that Slurm
    # cancels before the start has no process that could start the next job.
    wait_until((queue_path / "jobs/a/started").exists, "the first job runs")
    run("scancel", str(queue.status("a").native_id))
    wait_until((queue_path / "jobs/b/native_id").exists, "the next job is submitted")
    gate.open()
    ended = queue.wait(ids)
    assert ended["b"].succeeded
    assert ended["c"].native_id is None
