"""A server that is away when a job starts, runs or is fetched costs only time."""

from __future__ import annotations

import concurrent.futures
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import luigi
import pytest
from jobs import LIMIT, Gate, wait_until
from servers.sshd import Sshd

import tej
from tej_luigi import TejBatch, TejTask, connections
from tej_luigi.config import QueueAddress
from tej_luigi.connections import open_queue
from tests.adapters_luigi.tools import Configure, jobs_in

TRIES = 8
"""More than are made for one question."""


@pytest.fixture
def fragile(
    start_sshd: Callable[..., Sshd],
    client_home: Path,
    queue_path: Path,
    configure: Configure,
) -> Sshd:
    """A server of one's own, where the tasks' jobs run."""
    server = start_sshd()
    config = client_home / ".ssh/config"
    config.write_text(
        f"Host fragile\n    HostName {server.address}\n    Port {server.port}\n"
        f"    User {server.user}\n{server.client_options}"
    )
    settings = {"destination": "fragile", "queue": str(queue_path), "poll": "0.3"}
    configure(tej={**settings, "runtime": "default"})
    return server


class Waits(TejTask):
    n = luigi.IntParameter()
    until = luigi.Parameter()
    results = ("out",)

    @property
    def inline(self) -> str:
        return f"{self.until}; echo {self.n} >out"


class Two(TejBatch):
    until = luigi.Parameter()

    def jobs(self) -> list[Waits]:
        return [Waits(n=n, until=self.until) for n in range(2)]


@pytest.mark.parametrize("kind", ["task", "batch"])
@pytest.mark.parametrize("moment", ["start", "wait", "fetch"])
def test_outage_costs_only_time(
    fragile: Sshd,
    queue_path: Path,
    gate: Gate,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    moment: str,
) -> None:
    caplog.set_level(logging.INFO, "tej")
    # Of the pauses that double.
    monkeypatch.setattr(connections, "LONGEST_PAUSE", 0.2)
    task = Waits(n=0, until=gate.wait) if kind == "task" else Two(until=gate.wait)
    assert not task.complete()
    queue = open_queue(QueueAddress("fragile", str(queue_path), "default")).queue
    run: Callable[[], object] = task.run
    if moment == "start":
        gate.open()
        fragile.stop()
    elif moment == "fetch":
        gate.open()
        task.run()
        shutil.rmtree("results")
        one = task if kind == "task" else task.jobs()[0]
        run = one.output()["results"]["out"].open
        fragile.stop()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        done = pool.submit(run)
        if moment == "wait":
            wait_until(lambda: jobs_in(queue, "running") >= 1, "a job runs")
            fragile.stop()

        def tries() -> int:
            words = ("trying again", "still waiting")
            return sum(caplog.text.count(one) for one in words)

        try:
            wait_until(lambda: tries() >= TRIES or done.done(), "it has tried for long")
            assert not done.done()
        finally:
            gate.open()
            fragile.start()
        opened = done.result(timeout=LIMIT)
    if moment == "fetch":
        opened.close()
    assert task.complete()


def test_wrong_server_name_is_an_error(
    fragile: Sshd, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "LONGEST_PAUSE", 0.1)
    configure(tej={"destination": "nobody@127.0.0.1:1"})
    with pytest.raises(tej.ConnectionFailed):
        Waits(n=0, until="true").run()
