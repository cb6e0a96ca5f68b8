"""Flows that tests run in processes of their own, to cancel or kill them.

python flows.py KIND QUEUE GATE [ON_CANCEL]    runs one
python flows.py serve                          serves all as deployments "test"
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

from prefect import flow, serve

from tej_prefect import (
    TejDestination,
    TejJob,
    fetch_results,
    kill_jobs_on_cancellation,
    run_job,
    run_jobs,
    submit_job,
    suspend_until_done,
)


def waiting(queue: str, gate: str, number: int = 0, on_cancel: str = "kill") -> TejJob:
    """A job that runs until the gate opens."""
    return TejJob(
        destination=TejDestination(
            destination="local:", queue=queue, runtime="default"
        ),
        script=f"echo begun; until [ -e '{gate}' ]; do sleep 0.05; done",
        environment={"NUMBER": str(number)},
        results_directory=f"{queue}.results",
        on_cancel=on_cancel,
    )


@flow
def direct(queue: str, gate: str, on_cancel: str = "kill") -> None:
    run_job(waiting(queue, gate, on_cancel=on_cancel))


@flow
def mapped(queue: str, gate: str, on_cancel: str = "kill") -> None:
    jobs = [waiting(queue, gate, number, on_cancel) for number in range(3)]
    run_job.map(jobs).result()


@flow
def batch(queue: str, gate: str, on_cancel: str = "kill") -> None:
    jobs = [waiting(queue, gate, number) for number in range(3)]
    run_jobs(jobs, on_cancel=on_cancel)


@flow
def as_each_says(queue: str, gate: str, on_cancel: str = "") -> None:
    """The first job is to be left, unless something else is said for all."""
    jobs = [
        waiting(queue, gate, number, on_cancel="kill" if number else "leave")
        for number in range(3)
    ]
    run_jobs(jobs, on_cancel=on_cancel or None)


@flow
async def asynchronous(queue: str, gate: str, on_cancel: str = "kill") -> None:
    jobs = [waiting(queue, gate, number, on_cancel) for number in range(3)]
    runs = [await job.atrigger() for job in jobs]
    await asyncio.gather(*(run.await_for_completion() for run in runs))


@flow
def outer(queue: str, gate: str) -> None:
    direct(queue, gate)


def stored(queue: str, gate: str, block: str, number: int) -> TejJob:
    """The same at a stored destination."""
    job = waiting(queue, gate, number)
    return job.model_copy(update={"destination": TejDestination.load(block)})


@flow
def study(queue: str, gate: str, block: str) -> int:
    """Waits for its jobs without a process."""
    runs = [submit_job(stored(queue, gate, block, number)) for number in range(2)]
    suspend_until_done(runs)
    return sum(fetch_results(run).succeeded for run in runs)


@flow(on_cancellation=[kill_jobs_on_cancellation])
def hooked(queue: str, gate: str, block: str) -> None:
    """Does something else than to wait for its job."""
    submit_job(stored(queue, gate, block, 0))
    while True:
        time.sleep(0.1)


@flow
def work(gate: str = "", crash: bool = False) -> None:
    """What a worker's job does: it says so, waits for the gate, and may die."""
    print("at work in", Path.cwd(), flush=True)
    print("API:", os.environ["PREFECT_API_URL"], flush=True)
    while gate and not Path(gate).exists():
        time.sleep(0.05)
    if crash:
        os.kill(os.getppid(), signal.SIGKILL)
        os._exit(9)


SERVED = (direct, mapped, batch, asynchronous, outer, study, hooked)
FLOWS = {one.name: one for one in (*SERVED, as_each_says)}

if __name__ == "__main__":
    kind, *arguments = sys.argv[1:]
    if kind == "serve":
        serve(*[one.to_deployment(name="test") for one in SERVED])
    elif kind == "asynchronous":
        asyncio.run(asynchronous(*arguments))
    else:
        FLOWS[kind](*arguments)
