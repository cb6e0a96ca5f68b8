"""A server that cannot be reached, either for a while or from the start."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from jobs import Gate, wait_until
from prefect import flow
from servers.sshd import Sshd

import tej
from tej_prefect import JobResult, TejDestination, TejJob, run_job
from tests.adapters_prefect.conftest import destination_on
from tests.adapters_prefect.flow_processes import running

Make = Callable[..., Path]


def test_wait_survives_unreachable_server(
    prefect_server: str,
    start_sshd: Callable[..., Sshd],
    home: Path,
    queue: tej.RemoteQueue,
    queue_path: Path,
    job: Make,
    gate: Gate,
    results: Path,
) -> None:
    sshd = start_sshd()
    destination = destination_on(sshd, queue_path)

    @flow
    def patient() -> JobResult:
        return run_job(
            TejJob(
                destination=destination,
                directory=job(f"echo begun; {gate.wait}; echo done"),
                results_directory=results,
            )
        )

    found: list[JobResult] = []
    thread = threading.Thread(target=lambda: found.append(patient()))
    thread.start()
    wait_until(running(queue, 1), "the job runs")
    (one,) = queue.jobs()
    wait_until(
        lambda: b"begun" in b"".join(queue.logs(one.job_id)), "the job has begun"
    )
    # The wait may or may not have begun at this time.
    sshd.stop()
    gate.open()
    wait_until(
        lambda: queue.status(one.job_id).succeeded, "the job ends during the request"
    )
    assert thread.is_alive()
    sshd.start()
    thread.join(60)
    assert [result.stdout for result in found] == ["begun\ndone\n"]


def test_unreachable_server_is_named_in_error(
    start_sshd: Callable[..., Sshd], home: Path, job: Make
) -> None:
    sshd = start_sshd()
    sshd.stop()
    destination = TejDestination(
        host=sshd.address, user="me", port=sshd.port, timeout=5
    )
    with pytest.raises(tej.ConnectionFailed, match=f"me@127.0.0.1:{sshd.port}"):
        run_job.fn(TejJob(destination=destination, directory=job("exit 0")))
