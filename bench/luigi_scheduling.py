"""How long Luigi takes to schedule tasks that are all complete: tej_luigi, and what
Luigi itself brings for files behind SSH, on the same server.

    python bench/luigi_scheduling.py [TASKS]
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from setting import ROOT, Setting, seconds

sys.path.insert(0, str(ROOT / "integrations/luigi"))

import luigi
from luigi.contrib.ssh import RemoteTarget

from tej_luigi import TejBatch, TejTask
from tej_luigi.queues import close_queues, open_queue

SSH_TASKS = 20
"""It takes an `ssh` process for each; the time for all is reckoned from these."""


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
    """Requires what `make` gives: set by whoever measures."""

    kind = luigi.Parameter()
    make: Callable[[], list[luigi.Task]]
    has_run = False

    def requires(self) -> list[luigi.Task]:
        return All.make()

    def complete(self) -> bool:
        # Only a task that is not complete has those that it requires scheduled.
        return self.has_run

    def run(self) -> None:
        self.has_run = True


def schedule(kind: str, make: Callable[[], list[luigi.Task]]) -> float:
    """Seconds until Luigi has found that all is done."""
    All.make = staticmethod(make)
    done: list[bool] = []
    options = {"local_scheduler": True, "no_lock": True, "log_level": "WARNING"}
    taken = seconds(lambda: done.append(luigi.build([All(kind=kind)], **options)))
    assert done == [True], f"{kind}: not all is done"
    return taken


def main(count: int) -> None:
    logging.getLogger("luigi-interface").setLevel(logging.ERROR)
    setting = Setting(0.05)
    place = tempfile.TemporaryDirectory()
    os.chdir(place.name)
    try:
        os.environ |= {
            "TEJ_DESTINATION": "near",
            "TEJ_QUEUE": str(setting.folder / "queue"),
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
        wrap_ssh(setting)
        remote = [RemoteFile(n=n, path=str(file)) for n in range(SSH_TASKS)]
        taken = schedule("ssh", lambda: remote)
        print(
            f"{SSH_TASKS} tasks, luigi.contrib.ssh, near: {taken:.2f} s, "
            f"so {count}: {taken * count / SSH_TASKS:.0f} s"
        )
    finally:
        close_queues()
        place.cleanup()
        setting.close()


def wrap_ssh(setting: Setting) -> None:
    """An `ssh` that reads the configuration of the setting, first on the path."""
    folder = setting.folder / "bin"
    folder.mkdir()
    ssh = folder / "ssh"
    config = setting.home / ".ssh/config"
    ssh.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {config} "$@"\n')
    ssh.chmod(0o755)
    os.environ["PATH"] = f"{folder}:{os.environ['PATH']}"


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
