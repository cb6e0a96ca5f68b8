"""Flows that tests run in threads or in processes, to cancel or interrupt them.

python flows.py mapped QUEUE GATE      runs the flow `mapped`

Each byte on stdin is the number of a signal, which the main thread receives.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from pathlib import Path

from prefect import flow

from tej_prefect import (
    TejDestination,
    TejJob,
    fetch_results,
    run_job,
    run_jobs,
    submit_job,
    suspend_until_done,
)


def waiting(queue: str, gate: str, number: int = 0, on_cancel: str = "kill") -> TejJob:
    """Return a job that runs until the gate opens."""
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
def direct(queue: str, gate: str) -> None:
    """Wait for a job in the main thread of the flow."""
    run_job(waiting(queue, gate))


@flow
def mapped(queue: str, gate: str) -> None:
    """Wait for jobs in threads of the task runner."""
    run_job.map([waiting(queue, gate, number) for number in range(3)]).result()


@flow
def batch(queue: str, gate: str) -> None:
    """Wait for several jobs in one task."""
    run_jobs([waiting(queue, gate, number) for number in range(3)])


@flow
def mixed(queue: str, gate: str, on_cancel: str = "") -> None:
    """Request jobs with different settings of `on_cancel`; the last two jobs are each
    requested with both settings."""
    settings = [(0, "leave"), (1, "kill")]
    settings += [(2, "kill"), (2, "leave"), (3, "leave"), (3, "kill")]
    jobs = [waiting(queue, gate, number, setting) for number, setting in settings]
    run_jobs(jobs, on_cancel=on_cancel or None)


@flow
async def asynchronous(queue: str, gate: str) -> None:
    """Wait for jobs in an event loop."""
    jobs = [waiting(queue, gate, number) for number in range(3)]
    runs = [await job.atrigger() for job in jobs]
    await asyncio.gather(*(run.await_for_completion() for run in runs))


@flow
def outer(queue: str, gate: str) -> None:
    """Wait for a job in a subflow."""
    direct(queue, gate)


@flow
def study(queue: str, gate: str, block: str) -> int:
    """Wait for the jobs at a stored destination without a process."""
    stored = {"destination": TejDestination.load(block)}
    jobs = [waiting(queue, gate, number) for number in range(2)]
    runs = [submit_job(job.model_copy(update=stored)) for job in jobs]
    suspend_until_done(runs)
    return sum(fetch_results(run).succeeded for run in runs)


@flow
def work(gate: str, queue: str = "") -> None:
    """Report the API's address; wait for the gate, and for jobs if a queue is given."""
    print("at work in", Path.cwd(), flush=True)
    print("API:", os.environ["PREFECT_API_URL"], flush=True)
    if queue:
        others = run_job.map([waiting(queue, gate, number) for number in (1, 2)])
        run_job(waiting(queue, gate))
        others.result()
    while not Path(gate).exists():
        time.sleep(0.05)


def receive_signals() -> None:
    """Send the signals from stdin to the main thread.

    If another process sends a signal, a thread that starts a program at that moment may
    receive the signal instead of the main thread.  Python calls the handler only when
    the main thread continues, which in `mapped` is at the end of a job.
    """
    main = threading.main_thread().ident
    assert main is not None
    while number := os.read(0, 1):
        signal.pthread_kill(main, number[0])


if __name__ == "__main__":
    threading.Thread(target=receive_signals, daemon=True).start()
    {"mapped": mapped}[sys.argv[1]](*sys.argv[2:])
