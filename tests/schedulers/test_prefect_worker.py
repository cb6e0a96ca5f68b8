"""A worker of Prefect's through a real Slurm: its flow runs are Slurm's jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jobs import Gate, wait_until

import tej

pytest.importorskip("prefect")

from tests.adapters_prefect.conftest import prefect_server, unique  # noqa: F401
from tests.adapters_prefect.processes import cancel, read
from tests.adapters_prefect.test_worker import Pool, made_pool, states

pytestmark = [
    pytest.mark.xdist_group("the machine's Slurm"),
    pytest.mark.filterwarnings("default"),
]


@pytest.fixture
def pool(
    prefect_server: str,  # noqa: F811
    queue: tej.RemoteQueue,
    tmp_path: Path,
    unique: str,  # noqa: F811
) -> Iterator[Pool]:
    from tej_prefect import TejDestination

    destination = TejDestination(
        destination="local:", queue=str(queue.queue), runtime="slurm"
    )
    with made_pool(
        destination, queue, prefect_server, unique, tmp_path, cpus=1, walltime="0:10:00"
    ) as made:
        yield made


def test_flow_runs_wait_in_slurm_as_pending_and_end_as_they_end(
    pool: Pool, gate: Gate, slurm: Callable[[], None]
) -> None:
    pool.start()
    # There are two slots: the third one waits in Slurm.
    running = [pool.run(gate=str(gate.path)) for _ in range(2)]
    for flow_run_id in running:
        pool.until(flow_run_id, "Running")
    waiting = pool.run()
    wait_until(lambda: sorted(states(pool.queue))[0] == "queued", "one is queued")
    assert read(waiting).state_type == "PENDING"
    (queued,) = pool.queue.jobs(states=["queued"])
    assert queued.runtime == "slurm"
    assert queued.native_id is not None
    cancel(running[0])
    pool.until(running[0], "Cancelled")
    pool.until(waiting, "Completed")
    gate.open()
    pool.until(running[1], "Completed")
