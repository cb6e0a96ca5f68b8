"""Outages: a server that cannot be reached for a while delays the tasks only."""

from __future__ import annotations

import concurrent.futures
import logging
import shutil
from collections.abc import Callable

import luigi
import pytest
from jobs import LIMIT, Gate, wait_until
from servers.proxy import Proxy

import tej
from tej_luigi import TejBatch, TejTask, status_cache
from tej_luigi.config import QueueAddress
from tests.adapters_luigi.run_tasks import OVER_SSH, Configure, jobs_in

TRIES = 6
"""A number of attempts larger than that of one request."""


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


@OVER_SSH
@pytest.mark.parametrize("moment", ["start", "wait", "fetch"])
def test_outage_costs_only_time(
    address: QueueAddress,
    far: Proxy,
    gate: Gate,
    configure: Configure,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
) -> None:
    caplog.set_level(logging.INFO, "tej")
    configure(tej={"destination": "far"})
    task = Waits(n=0, until=gate.wait) if moment == "wait" else Two(until=gate.wait)
    queue = status_cache.open_queue(Waits(n=0, until="").address).queue
    queue.connection.retries = tej.Retries(limit=2, first=0.01, longest=0.05)
    assert not task.complete()
    run: Callable[[], object] = task.run
    if moment == "fetch":
        gate.open()
        task.run()
        shutil.rmtree("results")
        run = task.output()[0]["results"]["out"].open
    if moment != "wait":
        gate.open()
        far.refuse()
        far.cut()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        done = pool.submit(run)
        if moment == "wait":
            wait_until(lambda: jobs_in(queue, "running") == 1, "a job runs")
            far.refuse()
            far.cut()

        def tries() -> int:
            words = ("trying again", "still waiting")
            return sum(caplog.text.count(one) for one in words)

        try:
            wait_until(
                lambda: tries() >= TRIES or done.done(), "many attempts were made"
            )
            assert not done.done()
        finally:
            gate.open()
            far.accept()
        opened = done.result(timeout=LIMIT)
    if moment == "fetch":
        opened.close()
    assert task.complete()


def test_complete_waits_for_a_server_that_has_replied(
    address: QueueAddress, queue: tej.RemoteQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    soon = tej.Retries(limit=2, first=0.01, longest=0.05)
    monkeypatch.setattr(queue.connection, "retries", soon)
    statuses = queue.statuses
    failures = [True, True, True]

    def fail_first(job_ids: list[str]) -> dict[str, tej.JobStatus | None]:
        if failures:
            failures.pop()
            raise tej.ConnectionFailed("away")
        return statuses(job_ids)

    monkeypatch.setattr(queue, "statuses", fail_first)
    task = Waits(n=0, until="true")
    # The name of a server that has never replied may be wrong.
    with pytest.raises(tej.ConnectionFailed):
        task.complete()
    queue.shell(":")
    assert not task.complete()
    assert not failures


def test_wrong_server_name_is_an_error(
    address: QueueAddress, configure: Configure
) -> None:
    configure(tej={"destination": "nobody@127.0.0.1:1"})
    with pytest.raises(tej.ConnectionFailed):
        Waits(n=0, until="true").run()
