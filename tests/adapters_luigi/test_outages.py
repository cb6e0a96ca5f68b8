"""A connection that is lost while jobs run costs nothing but time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

import luigi
import pytest
from jobs import Gate, wait_until
from servers.sshd import Sshd

from tej_luigi import TejBatch, TejTask
from tej_luigi.config import Place
from tej_luigi.queues import open_queue
from tests.adapters_luigi.tools import Configure

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
    configure(tej={**settings, "runtime": "default", "wait": "block"})
    return server


class Waits(TejTask):
    n = luigi.IntParameter()
    until = luigi.Parameter()
    results = ("out",)

    @property
    def inline(self) -> str:  # type: ignore[override]
        return f"{self.until}; echo {self.n} >out"


class Two(TejBatch):
    until = luigi.Parameter()

    def jobs(self) -> list[Waits]:
        return [Waits(n=n, until=self.until) for n in range(2)]


@pytest.mark.parametrize("kind", ["task", "batch"])
def test_a_wait_goes_through_an_outage(
    fragile: Sshd,
    queue_path: Path,
    gate: Gate,
    caplog: pytest.LogCaptureFixture,
    kind: str,
) -> None:
    task = Waits(n=0, until=gate.wait) if kind == "task" else Two(until=gate.wait)
    caplog.set_level(logging.INFO, "tej")
    raised: list[BaseException] = []

    def run() -> None:
        try:
            task.run()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    queue = open_queue(Place("fragile", str(queue_path), "default")).queue
    count = 1 if kind == "task" else 2
    wait_until(lambda: len(queue.watcher._asked) == count, "they are waited for")
    fragile.stop()

    def tries() -> int:
        words = ("trying again", "still waiting", "so does the wait")
        return sum(caplog.text.count(one) for one in words)

    try:
        wait_until(lambda: tries() >= TRIES or raised, "it has tried for long")
        assert not raised
    finally:
        gate.open()
        fragile.start()
        thread.join()
    assert not raised
    assert task.complete()
