"""Several worker processes:

one connection, one start per job, results in all workers.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from jobs import Gate, wait_until
from servers.proxy import Proxy

import tej
from tests.adapters_luigi.run_tasks import jobs_in

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
    """Return the output of a process, which must exit with 0."""
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    return said


def test_workers_share_one_connection(
    pipeline: Pipeline,
    queue: tej.RemoteQueue,
    far: Proxy,
    gate: Gate,
    starts: Path,
) -> None:
    words = ["--count", "3", "--workers", "2", "--local-scheduler"]
    settings = {"destination": "far", "queue": str(queue.queue), "runtime": "default"}
    process = pipeline(TASKS, "All", *words, tej=settings)
    wait_until(lambda: jobs_in(queue, "running") == 2, "two jobs run")
    gate.open()
    # The parent forks a third worker while the first workers use its connection.
    said = finish(process)
    assert Path("sum").read_text() == str(sum(range(3)))
    assert len(starts.read_text().split()) == 3
    assert "Traceback" not in said
    # One connection is usual; on a busy machine, a connection may be lost.
    assert 1 <= far.connections < 4


RETRIED = """
class Retried(tej_luigi.TejTask):
    n = luigi.IntParameter()
    retry = 1
    second = f"[ $(grep -c $TEJ_JOB_ID {STARTS}) = 2 ]"
    inline = f"{START}; : {{{{n}}}}; {second} || exit 1; {GATE}"

class Batch(tej_luigi.TejBatch):
    def jobs(self):
        return [Retried(n=n) for n in range(2)]
"""


def test_pipeline_killed_during_a_retry_is_resumed(
    pipeline: Pipeline, queue: tej.RemoteQueue, gate: Gate, starts: Path
) -> None:
    words = ["Batch", "--workers", "2", "--local-scheduler"]
    process = pipeline(RETRIED, *words)
    wait_until(lambda: len(starts.read_text().split()) > 2, "a job is restarted")
    process.kill()
    # The forked workers have ended as well, because they keep the output open.
    process.communicate(timeout=120)
    process = pipeline(RETRIED, *words, "--parallel-scheduling")
    wait_until(lambda: jobs_in(queue, "running") == 2, "both jobs are restarted")
    gate.open()
    assert "Traceback" not in finish(process)
    assert len(queue.jobs(states=["finished"])) == 2
    assert len(starts.read_text().split()) == 4


def test_interrupted_pipeline_does_not_affect_another(
    pipeline: Pipeline, queue: tej.RemoteQueue, gate: Gate, starts: Path
) -> None:
    words = ["--count", "1", "--local-scheduler"]
    first = pipeline(TASKS, "All", *words)
    second = pipeline(TASKS, "All", *words)
    wait_until(lambda: jobs_in(queue, "running") == 1, "the job runs")
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=120)
    assert first.returncode != 0
    assert jobs_in(queue, "running") == 1
    gate.open()
    finish(second)
    assert len(starts.read_text().split()) == 1
