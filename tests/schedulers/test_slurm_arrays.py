"""Job arrays in a real Slurm: each task of an array is a separate job in tej."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from jobs import Gate, wait_until
from schedulers.conftest import output, run, until

import tej
from tej import JobState

Make = Callable[..., Path]
Wrap = Callable[..., Path]
SBATCH = 'exec /usr/bin/sbatch "$@"'


def submit(queue: tej.RemoteQueue, *specs: tej.JobSpec) -> dict[str, str | None]:
    """Submit jobs in one request; return their native ids."""
    outcomes = queue.submit_many(specs)
    assert [outcome.error for outcome in outcomes] == [None] * len(specs)
    statuses = queue.statuses([outcome.job_id for outcome in outcomes])
    return {job_id: s and s.native_id for job_id, s in statuses.items()}


def test_tasks_of_array_are_separate_jobs(
    queue: tej.RemoteQueue, job: Make, gate: Gate, wrapped: Wrap
) -> None:
    calls = wrapped("sbatch", SBATCH)
    task = f"echo ${{SLURM_ARRAY_TASK_ID-none}}; {gate.wait}; exit"
    specs = [
        tej.JobSpec(job(f"{task} {n}", name=f"run{n}"), job_id=f"job{n}")
        for n in range(4)
    ]
    other = tej.JobSpec(
        job("true", name="other"), job_id="other", resources=tej.Resources(walltime=60)
    )
    ids = submit(queue, *specs, other)
    first = str(ids["job0"]).partition("_")[0]
    assert ids == {f"job{n}": f"{first}_{n}" for n in range(4)} | {
        "other": ids["other"]
    }
    array, single = calls.read_text().splitlines()
    assert "-J run --array=0-3" in array
    assert "--array" not in single
    for number in range(2):
        running = (JobState.RUNNING,)
        until(queue, f"job{number}", lambda status: status.state in running)
    assert queue.status("job3").state is JobState.QUEUED
    killed = queue.kill_many(["job0", "job3"], grace=1)
    assert {one.status.state for one in killed.values() if one} == {JobState.KILLED}
    again = queue.ensure(specs[3].directory, job_id="job3", retry=True)
    gate.open()
    ended = dict(queue.as_completed(["job1", "job2", "job3"], 90))
    assert {status.exit_code for status in ended.values()} == {1, 2, 3}
    assert "_" not in str(again.status().native_id)
    assert output(queue, "job2") == "none\n"
    assert "ArrayTaskId=0" in queue.scheduler_log("job0").decode()


def test_refused_array_is_submitted_job_by_job(
    queue: tej.RemoteQueue, job: Make, wrapped: Wrap, tmp_path: Path
) -> None:
    refusal = "Batch job submission failed: Invalid job array specification"
    lines = (
        f'case "$*" in *--array*) echo "sbatch: error: {refusal}" >&2; exit 1 ;; esac'
    )
    calls = wrapped("sbatch", f"{lines}\n{SBATCH}")
    directory = job(f"echo ran >>'{tmp_path}/runs'")
    ids = submit(queue, *(tej.JobSpec(directory, job_id=one) for one in "ab"))
    assert "_" not in "".join(map(str, ids.values()))
    ended = dict(queue.as_completed(["a", "b"], 90))
    assert all(status.succeeded for status in ended.values())
    assert len(calls.read_text().splitlines()) == 3
    assert (tmp_path / "runs").read_text() == "ran\nran\n"


LOST = """echo "sbatch: error: submission failed: Socket timed out" >&2; exit 1"""
DEAD = """\
read -r _ _ _ _ _ pid _ <"$(dirname "$path")/submitting"; kill -9 "$pid"
"""


@pytest.mark.parametrize("fault", [LOST, DEAD], ids=["lost reply", "dead client"])
def test_array_without_reply_starts_each_job_once(
    queue: tej.RemoteQueue, job: Make, wrapped: Wrap, tmp_path: Path, fault: str
) -> None:
    path = "for path; do :; done"
    calls = wrapped("sbatch", f'/usr/bin/sbatch "$@" >/dev/null\n{path}\n{fault}')
    directory = job('echo ran >>"$HOME/$TEJ_JOB_ID"')
    names = ["a", "b", "c"]
    ids = submit(queue, *(tej.JobSpec(directory, job_id=one) for one in names))
    assert [str(native).partition("_")[2] for native in ids.values()] == ["0", "1", "2"]
    ended = dict(queue.as_completed(names, 90))
    assert all(status.succeeded for status in ended.values())
    wait_until(lambda: run("squeue", "-h") == "", "Slurm has no other job")
    assert len(calls.read_text().splitlines()) == 1
    assert [(tmp_path / "home" / one).read_text() for one in names] == ["ran\n"] * 3
