"""Several worker processes: one connection, jobs started once, results everywhere."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from jobs import Gate, wait_until

import tej
from tests.adapters_luigi.tools import jobs_in

Pipeline = Callable[..., "subprocess.Popen[str]"]

TASKS = """
class One(tej_luigi.TejTask):
    n = luigi.IntParameter()
    results = ("out",)

    @property
    def inline(self):
        return f"{START}; {GATE}; echo {self.n} >out"

class All(luigi.Task):
    count = luigi.IntParameter()

    def requires(self):
        return [One(n=n) for n in range(self.count)]

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


def finish(process: subprocess.Popen[str]) -> str:
    """What it said; it has to end well."""
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    return said


def test_workers_share_one_connection(
    pipeline: Pipeline,
    queue: tej.RemoteQueue,
    gate: Gate,
    starts: Path,
    logins: Callable[[], int],
) -> None:
    words = ["--count", "12", "--workers", "6", "--local-scheduler"]
    before = logins()
    process = pipeline(TASKS, "All", *words)
    wait_until(lambda: jobs_in(queue, "running") == 6, "six run")
    # The queue of this test has logged in, too.
    assert logins() - before == 2
    gate.open()
    said = finish(process)
    assert Path("sum").read_text() == str(sum(range(12)))
    assert len(starts.read_text().split()) == 12
    assert "Traceback" not in said
    assert logins() - before == 2


def test_parallel_scheduling(
    pipeline: Pipeline, queue: tej.RemoteQueue, gate: Gate
) -> None:
    gate.open()
    words = ["--count", "3", "--workers", "2", "--parallel-scheduling"]
    said = finish(pipeline(TASKS, "All", *words, "--local-scheduler"))
    assert "Traceback" not in said
    assert Path("sum").read_text() == "3"


def test_killed_pipeline_is_resumed(
    pipeline: Pipeline, queue: tej.RemoteQueue, gate: Gate, starts: Path
) -> None:
    words = ["--count", "4", "--workers", "4", "--local-scheduler"]
    process = pipeline(TASKS, "All", *words)
    wait_until(lambda: jobs_in(queue, "running") == 4, "all run")
    process.kill()
    process.communicate()
    assert jobs_in(queue, "running") == 4
    gate.open()
    finish(pipeline(TASKS, "All", *words))
    assert len(starts.read_text().split()) == 4


def test_fork_does_not_harm_the_parents_connection(
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


def test_concurrent_pipelines_start_each_job_once(
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
def test_interrupted_pipeline_leaves_jobs_running(
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
