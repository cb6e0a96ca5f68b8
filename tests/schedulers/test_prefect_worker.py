"""Prefect's worker with a real Slurm, in which flow runs are jobs."""

from __future__ import annotations

import pytest
from jobs import Gate
from schedulers.conftest import run

import tej

pytest.importorskip("prefect")

from tests.adapters_prefect.conftest import prefect_server, unique  # noqa: F401
from tests.adapters_prefect.flow_processes import message_of, read, states, wait_until
from tests.adapters_prefect.test_worker import Pool, Workers, workers  # noqa: F401

pytestmark = [
    pytest.mark.filterwarnings("default"),
    # Slurm is started before the worker, because the worker uses the commands of this
    # Slurm.
    pytest.mark.usefixtures("slurm"),
    # Prefect's server and each process with Prefect start slowly on a busy machine.
    pytest.mark.timeout(1800),
]


@pytest.fixture
def pool(
    workers: Workers,  # noqa: F811
    queue: tej.RemoteQueue,
    unique: str,  # noqa: F811
) -> Pool:
    from tej_prefect import TejDestination

    destination = TejDestination(
        destination="local:", queue=str(queue.queue), runtime="slurm"
    )
    destination.save(unique)
    return Pool(workers, destination, unique, queue)


def test_flow_runs_wait_in_slurm_and_report_reasons(pool: Pool, gate: Gate) -> None:
    # There are two slots, so the third job waits in Slurm.
    running = [pool.run(command=gate.wait, cpus=1) for _ in range(2)]
    wait_until(lambda: states(pool.queue) == ["running"] * 2, "two jobs run")
    waiting = pool.run(command="exit 5", cpus=1)
    wait_until(lambda: "queued" in states(pool.queue), "one job waits")
    (queued,) = pool.queue.jobs(states=["queued"])
    assert queued.runtime == "slurm"
    assert queued.native_id is not None
    assert read(waiting).state_type == "PENDING"
    pool.queue.kill(f"prefect-{running[0]}-0")
    pool.until(running[0], "Crashed")
    assert "was killed" in message_of(running[0])
    pool.until(waiting, "Crashed")
    assert "exit code 5" in message_of(waiting)
    native_id = pool.queue.status(f"prefect-{running[1]}-0").native_id
    run("scancel", str(native_id).split()[-1])
    pool.until(running[1], "Crashed")
    assert "not by tej" in message_of(running[1])
