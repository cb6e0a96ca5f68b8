"""Flows in threads and processes, and the states of their jobs and flow runs."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import jobs
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelling, State

import tej
from tests.adapters_prefect import flows

FLOWS = Path(__file__).with_name("flows.py")
START = 600.0
"""Seconds within which a process must have imported Prefect, on a busy machine."""


def client() -> SyncPrefectClient:
    """Return a client of Prefect's server, which stays open.

    A new client reads the certificates of the machine, which takes longer than a request.
    """
    return _open_client(str(PREFECT_API_URL.value()))


@functools.cache
def _open_client(api: str) -> SyncPrefectClient:
    return get_client(sync_client=True).__enter__()


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Return when a condition holds that depends on Prefect's server or a process."""
    jobs.wait_until(condition, what, START)


class Process:
    """`flows.py` in a process of its own, which is killed when the block ends."""

    def __init__(self, log: Path, api: str, *words: str) -> None:
        self.log = log
        with log.open("wb") as output:
            self.popen = subprocess.Popen(
                [sys.executable, str(FLOWS), *words],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                cwd=log.parent,
                env={**os.environ, "PREFECT_API_URL": api},
                start_new_session=True,
            )
        assert self.popen.stdin is not None
        self._stdin = self.popen.stdin

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        # The process has a session of its own, so its children are killed, too.
        try:
            os.killpg(self.popen.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.popen.wait()
        self._stdin.close()

    def interrupt(self, number: signal.Signals) -> None:
        """Send a signal to the main thread of the process."""
        self._stdin.write(bytes([number]))
        self._stdin.flush()

    def ended(self) -> bool:
        return self.popen.poll() is not None


class FlowThread:
    """A flow in a thread, which starts faster than a process that imports Prefect."""

    def __init__(self, function: Callable[[], object]) -> None:
        self._function = function
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._function()
        except BaseException as error:
            # The exception of a cancelled flow is not derived from `Exception`.
            self.error = error

    def ended(self) -> bool:
        return not self._thread.is_alive()


def running(queue: tej.RemoteQueue, number: int) -> Callable[[], bool]:
    """Return a function that returns whether exactly `number` jobs exist and run."""
    return lambda: states(queue) == ["running"] * number


def states(queue: tej.RemoteQueue) -> list[str]:
    try:
        return sorted(job.state.value for job in queue.jobs())
    except tej.QueueNotFound:
        return []


def all_are(queue: tej.RemoteQueue, state: str) -> bool:
    return set(states(queue)) == {state}


def flow_runs_of(queue: str | Path) -> list[FlowRun]:
    """Return the flow runs with this queue as a parameter, oldest first."""
    time.sleep(0.1)
    found = client().read_flow_runs(limit=200)
    mine = [
        one
        for one in found
        if one.parameters.get("queue") == str(queue) and not one.parent_task_run_id
    ]
    return sorted(mine, key=lambda one: str(one.created))


def flow_run_in(state: State[None]) -> UUID:
    """Create a flow run in a given state, which no process executes."""
    return client().create_flow_run(flows.direct, state=state).id


def flow_run_of(queue: str | Path) -> FlowRun:
    """Return the newest flow run of the queue."""
    wait_until(lambda: flow_runs_of(queue), "Prefect's server knows the flow run")
    return flow_runs_of(queue)[-1]


def read(flow_run_id: UUID) -> FlowRun:
    # Callers poll.  Without a pause, the requests take the time that flow runs need.
    time.sleep(0.1)
    return client().read_flow_run(flow_run_id)


def message_of(flow_run_id: UUID) -> str:
    """Return the message of a flow run's state."""
    state = read(flow_run_id).state
    return "" if state is None else str(state.message)


def cancel(flow_run_id: UUID) -> None:
    """Cancel a flow run in the same way as the button in Prefect's web interface."""
    client().set_flow_run_state(flow_run_id, Cancelling())


def task_states(flow_run_id: UUID) -> set[str]:
    found = client().read_task_runs(
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
    )
    return {str(one.state_name) for one in found}
