"""Scheduling time of complete Luigi tasks: tej_luigi against `luigi.contrib.ssh`.

Both packages use the same server.

    python bench/luigi_scheduling.py [TASKS]
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from testbed import ROOT, TestBed, seconds

sys.path.insert(0, str(ROOT / "integrations/luigi"))

import luigi
from luigi.contrib.ssh import RemoteTarget

from tej_luigi import TejBatch, TejTask
from tej_luigi.status_cache import close_queues, open_queue

SSH_TASKS = 20
"""Number of tasks that are measured with `luigi.contrib.ssh`, which starts an `ssh`
process for each task.  The time for all tasks is extrapolated."""


class Job(TejTask):
    n = luigi.IntParameter()
    inline = "echo {{n}}"


class Jobs(TejBatch):
    count = luigi.IntParameter()

    def jobs(self) -> list[Job]:
        return [Job(n=n) for n in range(self.count)]


class RemoteFile(luigi.ExternalTask):
    n = luigi.IntParameter()
    path = luigi.Parameter(significant=False)

    def output(self) -> RemoteTarget:
        return RemoteTarget(self.path, "near")


class LocalFile(luigi.ExternalTask):
    n = luigi.IntParameter()
    path = luigi.Parameter(significant=False)

    def output(self) -> luigi.LocalTarget:
        return luigi.LocalTarget(self.path)


class All(luigi.Task):
    """Requires the tasks that `make` returns; the benchmark sets `make`."""

    kind = luigi.Parameter()
    make: Callable[[], list[luigi.Task]]
    has_run = False

    def requires(self) -> list[luigi.Task]:
        return All.make()

    def complete(self) -> bool:
        # Luigi schedules the requirements of a task only if the task is not complete.
        return self.has_run

    def run(self) -> None:
        self.has_run = True


def schedule(kind: str, make: Callable[[], list[luigi.Task]]) -> float:
    """Return the seconds until Luigi has found that all tasks are complete."""
    All.make = staticmethod(make)
    done: list[bool] = []
    options = {"local_scheduler": True, "no_lock": True, "log_level": "WARNING"}
    taken = seconds(lambda: done.append(luigi.build([All(kind=kind)], **options)))
    assert done == [True], f"{kind}: not all is done"
    return taken


def main(count: int) -> None:
    logging.getLogger("luigi-interface").setLevel(logging.ERROR)
    testbed = TestBed(0.05)
    place = tempfile.TemporaryDirectory()
    os.chdir(place.name)
    try:
        os.environ |= {
            "TEJ_DESTINATION": "near",
            "TEJ_QUEUE": str(testbed.folder / "queue"),
            "TEJ_RUNTIME": "default",
        }
        ran = seconds(lambda: Jobs(count=count).run())
        print(f"{count} jobs from nothing to done, one batch: {ran:.1f} s")
        file = Path(place.name, "file")
        file.touch()
        tasks = [LocalFile(n=n, path=str(file)) for n in range(count)]
        print(f"{count} tasks, local files: {schedule('local', lambda: tasks):.2f} s")
        for where in ("near", "far"):
            close_queues()
            luigi.task_register.Register.clear_instance_cache()
            os.environ["TEJ_DESTINATION"] = where
            taken = schedule(where, lambda: [Job(n=n) for n in range(count)])
            runs = open_queue(Job(n=0).address).queue.transport.runs
            print(
                f"{count} tasks, tej_luigi, {where}: {taken:.2f} s, {runs} round trips"
            )
        wrap_ssh(testbed)
        remote = [RemoteFile(n=n, path=str(file)) for n in range(SSH_TASKS)]
        taken = schedule("ssh", lambda: remote)
        print(
            f"{SSH_TASKS} tasks, luigi.contrib.ssh, near: {taken:.2f} s, "
            f"so {count}: {taken * count / SSH_TASKS:.0f} s"
        )
    finally:
        close_queues()
        place.cleanup()
        testbed.close()


def wrap_ssh(testbed: TestBed) -> None:
    """Put a script `ssh` first on the PATH; it runs ssh with the benchmark's
    configuration."""
    folder = testbed.folder / "bin"
    folder.mkdir()
    ssh = folder / "ssh"
    config = testbed.home / ".ssh/config"
    ssh.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {config} "$@"\n')
    ssh.chmod(0o755)
    os.environ["PATH"] = f"{folder}:{os.environ['PATH']}"


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
