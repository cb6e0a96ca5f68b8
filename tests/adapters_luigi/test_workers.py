"""Several worker processes, and the three ways to wait for a job."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from jobs import Gate, wait_until

import tej
from tej_luigi.config import Place
from tests.adapters_luigi.tools import jobs_in

Pipeline = Callable[..., "subprocess.Popen[str]"]

TASKS = """
class One(tej_luigi.TejTask):
    n = luigi.IntParameter()
    wait = luigi.Parameter(default="yield", significant=False)
    results = ("out",)

    @property
    def inline(self):
        return f"{START}; {GATE}; echo {self.n} >out"

class All(luigi.Task):
    count = luigi.IntParameter()
    wait = luigi.Parameter(default="yield")

    def requires(self):
        return [One(n=n, wait=self.wait) for n in range(self.count)]

    def output(self):
        return luigi.LocalTarget("sum")

    def run(self):
        total = 0
        for one in self.input():
            with one["results"]["out"].open() as file:
                total += int(file.read())
        with self.output().open("w") as file:
            file.write(str(total))
"""

STAYS = {
    "worker": {
        "keep_alive": "true",
        "retry_external_tasks": "true",
        "wait_interval": "0.2",
        "wait_jitter": "0",
    },
    "scheduler": {"retry_delay": "0.5"},
}
"""A worker that sees when a job has ended."""


def finish(process: subprocess.Popen[str]) -> str:
    """What it said; it has to end well."""
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    return said


@pytest.mark.parametrize(("count", "words"), [(20, []), (5, ["--parallel-scheduling"])])
def test_jobs_run_side_by_side_in_four_workers_that_yield(
    pipeline: Pipeline,
    queue: tej.RemoteQueue,
    gate: Gate,
    starts: Path,
    count: int,
    words: list[str],
) -> None:
    words = ["--count", str(count), "--workers", "4", "--local-scheduler", *words]
    process = pipeline(TASKS, "All", *words, **STAYS)
    # None of them can end before all of them run.
    wait_until(lambda: jobs_in(queue, "running") == count, "all of them run")
    gate.open()
    said = finish(process)
    assert Path("sum").read_text() == str(sum(range(count)))
    assert len(starts.read_text().split()) == count
    assert "Traceback" not in said


def test_jobs_in_blocked_workers_run_as_many_as_there_are_workers(
    pipeline: Pipeline, queue: tej.RemoteQueue, gate: Gate, starts: Path
) -> None:
    # Without keep_alive nobody would come back to a task that yields: it blocks.
    words = ["--count", "6", "--workers", "3", "--local-scheduler"]
    process = pipeline(TASKS, "All", *words)
    wait_until(lambda: jobs_in(queue, "running") == 3, "three run")
    gate.open()
    said = finish(process)
    assert Path("sum").read_text() == "15"
    assert len(starts.read_text().split()) == 6
    assert "Traceback" not in said


def test_tasks_that_raise_are_found_by_the_next_run(
    pipeline: Pipeline, queue: tej.RemoteQueue, gate: Gate, starts: Path
) -> None:
    words = ["--count", "3", "--wait", "raise", "--workers", "2", "--local-scheduler"]
    process = pipeline(TASKS, "All", *words)
    said, _ = process.communicate(timeout=120)
    assert "not an error, it goes on" in said
    assert not Path("sum").exists()
    assert jobs_in(queue, "running") == 3
    gate.open()
    queue.wait(job.job_id for job in queue.jobs())
    finish(pipeline(TASKS, "All", *words))
    assert Path("sum").read_text() == "3"
    assert len(starts.read_text().split()) == 3


def test_a_pipeline_that_dies_is_taken_up_where_its_jobs_are(
    pipeline: Pipeline, queue: tej.RemoteQueue, gate: Gate, starts: Path
) -> None:
    words = ["--count", "4", "--workers", "4", "--local-scheduler"]
    process = pipeline(TASKS, "All", *words, **STAYS)
    wait_until(lambda: jobs_in(queue, "running") == 4, "all run")
    process.kill()
    process.communicate()
    assert jobs_in(queue, "running") == 4
    gate.open()
    finish(pipeline(TASKS, "All", *words, **STAYS))
    assert len(starts.read_text().split()) == 4


def test_a_failed_job_fails_its_task_once_when_workers_yield(
    pipeline: Pipeline, queue: tej.RemoteQueue, starts: Path, place: Place
) -> None:
    lines = """
class Fails(tej_luigi.TejTask):
    retry_count = 1
    retry = luigi.IntParameter(significant=False)
    inline = START + "; sleep 1; echo because >&2; exit 3"
"""
    words = ["Fails", "--retry", "1", "--workers", "2", "--local-scheduler"]
    process = pipeline(lines, *words, **STAYS)
    said, _ = process.communicate(timeout=120)
    assert "exit code 3" in said
    assert "because" in said
    assert said.count("JobFailed: Job") == 1
    # Once, and once again as asked; not by Luigi's own retries.
    assert len(starts.read_text().split()) == 2


def test_a_fork_leaves_the_connection_of_its_parent_alone(
    pipeline: Pipeline, queue: tej.RemoteQueue, gate: Gate
) -> None:
    lines = """
class Job(tej_luigi.TejTask):
    n = luigi.IntParameter()
    inline = "echo {{n}}"

class Main(luigi.Task):
    def requires(self):
        return [Job(n=n) for n in range(8)]

    def complete(self):
        # In the parent, between its forks: over its connection.
        return all(one.complete() for one in self.requires())

    def run(self):
        assert self.complete()
"""
    gate.open()
    said = finish(pipeline(lines, "Main", "--workers", "4", "--local-scheduler"))
    assert "Traceback" not in said
    assert len(queue.jobs(states=["finished"])) == 8


def test_two_pipelines_at_once_start_each_job_once(
    pipeline: Pipeline, queue: tej.RemoteQueue, gate: Gate, starts: Path
) -> None:
    words = ["--count", "4", "--workers", "4", "--local-scheduler"]
    both = [pipeline(TASKS, "All", *words) for _ in range(2)]
    wait_until(lambda: jobs_in(queue, "running") == 4, "all run")
    gate.open()
    for process in both:
        assert "Traceback" not in finish(process)
    assert len(starts.read_text().split()) == 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_pipeline_leaves_its_jobs_running(
    pipeline: Pipeline,
    queue: tej.RemoteQueue,
    gate: Gate,
    starts: Path,
    number: signal.Signals,
) -> None:
    words = ["--count", "1", "--local-scheduler"]
    process = pipeline(TASKS, "All", *words)
    wait_until(lambda: jobs_in(queue, "running") == 1, "it runs")
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert jobs_in(queue, "running") == 1
    gate.open()
    finish(pipeline(TASKS, "All", *words))
    assert len(starts.read_text().split()) == 1
