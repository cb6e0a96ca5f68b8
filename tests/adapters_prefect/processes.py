"""Processes that run flows, and what has become of their jobs and flow runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from jobs import wait_until
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelling

import tej

FLOWS = Path(__file__).with_name("flows.py")
SOON = 20.0
"""Seconds in which a cancel has to have killed the jobs, on a busy machine."""


class Process:
    """`flows.py` in a process of its own, which is ended with the block."""

    def __init__(self, log: Path, api: str, *words: str) -> None:
        self.log = log
        with log.open("wb") as output:
            self.popen = subprocess.Popen(
                [sys.executable, str(FLOWS), *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=log.parent,
                env={**os.environ, "PREFECT_API_URL": api},
                start_new_session=True,
            )

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        # Its own session: what it has started goes with it.
        try:
            os.killpg(self.popen.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.popen.wait()

    def send(self, number: int) -> None:
        self.popen.send_signal(number)

    def ended(self) -> bool:
        return self.popen.poll() is not None


def running(queue: tej.RemoteQueue, number: int) -> Callable[[], bool]:
    """Whether so many jobs of a queue run."""

    def look() -> bool:
        return [str(state) for state in states(queue)] == ["running"] * number

    return look


def states(queue: tej.RemoteQueue) -> list[str]:
    try:
        return [job.state.value for job in queue.jobs()]
    except tej.QueueDoesntExist:
        return []


def all_are(queue: tej.RemoteQueue, state: str) -> bool:
    found = states(queue)
    return bool(found) and set(found) == {state}


def flow_runs_of(queue: str) -> list[FlowRun]:
    """Those that were given this queue, oldest first."""
    time.sleep(0.25)
    with get_client(sync_client=True) as client:
        found = client.read_flow_runs(limit=200)
    mine = [one for one in found if one.parameters.get("queue") == queue]
    return sorted(mine, key=lambda one: str(one.created))


def flow_run_of(queue: str) -> FlowRun:
    wait_until(lambda: flow_runs_of(queue), "Prefect's server knows the flow run")
    return flow_runs_of(queue)[0]


def read(flow_run_id: UUID) -> FlowRun:
    # Callers poll: without a pause, the requests take the time that flow runs need.
    time.sleep(0.25)
    with get_client(sync_client=True) as client:
        return client.read_flow_run(flow_run_id)


def cancel(flow_run_id: UUID) -> None:
    """As the button in Prefect's pages does it."""
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(flow_run_id, Cancelling())


def task_states(flow_run_id: UUID) -> set[str]:
    with get_client(sync_client=True) as client:
        found = client.read_task_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
        )
    return {str(one.state_name) for one in found}
