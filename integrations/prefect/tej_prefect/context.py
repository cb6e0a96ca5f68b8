"""Run context: the flow run of the calling code, its parents, and their states."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import logging
import threading
from collections.abc import Callable, Coroutine, Iterable
from contextvars import copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar
from uuid import UUID

from prefect.blocks.core import Block
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import MissingContextError
from prefect.logging import get_logger, get_run_logger

if TYPE_CHECKING:
    AnyLogger = logging.Logger | logging.LoggerAdapter[logging.Logger]

Owner = TypeVar("Owner")
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

logger = logging.getLogger("tej.prefect")

CANCELLED = frozenset({StateType.CANCELLING, StateType.CANCELLED})
PAGE = 200
"""Maximum number of objects in one reply of the API."""


@dataclass(frozen=True)
class Run:
    """Ids of the current flow run and task run; None outside a flow or task."""

    flow_run_id: UUID | None = None
    task_run_id: UUID | None = None
    attempt: int = 1
    """Number of the attempt: greater than 1 if the task run or flow run is a retry."""
    stop: threading.Event | None = None
    """Event that is set when the task runner stops: after Ctrl-C, after a signal or
    at the end of the flow."""


def current_run() -> Run:
    """Return the flow run and task run of the calling thread."""
    flow, task = FlowRunContext.get(), TaskRunContext.get()
    flow_run = None if flow is None else flow.flow_run
    attempt = 1 if flow_run is None else max(1, flow_run.run_count)
    if task is not None:
        task_run = task.task_run
        # Prefect sets this event at Ctrl-C. tej checks the event, so that the flow
        # ends at once, and not only after its jobs have ended.
        events = getattr(getattr(flow, "task_runner", None), "_cancel_events", {})
        return Run(
            task_run.flow_run_id,
            task_run.id,
            max(attempt, task_run.run_count),
            events.get(task_run.id),
        )
    return Run() if flow_run is None else Run(flow_run.id, attempt=attempt)


def labels_of_run() -> dict[str, str]:
    """Return job labels with the ids of the current runs, for `tej list --label`."""
    run = current_run()
    found = {"prefect-flow-run": run.flow_run_id, "prefect-task-run": run.task_run_id}
    return {name: str(value) for name, value in found.items() if value is not None}


def run_logger() -> AnyLogger:
    """Return the logger of the current run, or an ordinary logger outside a run."""
    try:
        return get_run_logger()
    except MissingContextError:
        return get_logger("tej")


def stored_name(block: Block) -> str | None:
    """Return the name under which a block is stored; None for an unsaved block."""
    return block._block_document_name


# Blocking functions, called in threads.


async def in_thread(
    function: Callable[[], Result], stop: threading.Event | None = None
) -> Result:
    """Call a blocking function in a new thread and return its result.

    If the calling task is cancelled and `stop` is not None, `stop` is set, and the call
    waits until the thread ends, because the thread may still have to kill a job.
    """
    outcome: concurrent.futures.Future[Result] = concurrent.futures.Future()
    outcome.set_running_or_notify_cancel()
    context = copy_context()

    def run() -> None:
        try:
            result = context.run(function)
        except BaseException as error:
            outcome.set_exception(error)
        else:
            outcome.set_result(result)

    # The loop's executor is not used, because its few threads would be blocked while
    # jobs run, and because asyncio waits for the executor's threads at exit.
    threading.Thread(target=run, name="tej call", daemon=True).start()
    future = asyncio.wrap_future(outcome)
    if stop is None:
        return await future
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait([future])
        future.exception()
        raise


def asynchronous(
    method: Callable[Concatenate[Owner, Parameters], Result],
) -> Callable[Concatenate[Owner, Parameters], Coroutine[Any, Any, Result]]:
    """Return the asynchronous form of a method, which calls the method in a thread."""

    @functools.wraps(method)
    async def call(
        self: Owner, /, *arguments: Parameters.args, **options: Parameters.kwargs
    ) -> Result:
        return await in_thread(lambda: method(self, *arguments, **options))

    return call


def is_exiting() -> bool:
    """Return whether the interpreter is exiting: threads must then not use the API.

    Without an API URL, Prefect starts a temporary server, and stops the server when the
    interpreter exits.  A later request would start another server, which no process
    would stop.  The interpreter exits when only daemon threads are left, and not at the
    end of the main thread, because a flow in another thread may continue.
    """
    return all(one.daemon or not one.is_alive() for one in threading.enumerate())


# Flow runs in Prefect's API.


def family(client: SyncPrefectClient, flow_run_id: UUID) -> list[FlowRun]:
    """Return the flow run and its parent flow runs, innermost first."""
    found: list[FlowRun] = []
    next_id: UUID | None = flow_run_id
    while next_id is not None and next_id not in [one.id for one in found]:
        found.append(client.read_flow_run(next_id))
        parent = found[-1].parent_task_run_id
        next_id = None if parent is None else client.read_task_run(parent).flow_run_id
    return found


def read_all(client: SyncPrefectClient, ids: Iterable[UUID]) -> dict[UUID, FlowRun]:
    """Return flow runs from the API, by id; deleted flow runs are left out."""
    wanted = [*dict.fromkeys(ids)]
    found: dict[UUID, FlowRun] = {}
    for start in range(0, len(wanted), PAGE):
        some = FlowRunFilter(id=FlowRunFilterId(any_=wanted[start : start + PAGE]))
        found |= {one.id: one for one in client.read_flow_runs(flow_run_filter=some)}
    return found


def cancelled_ancestors(flow_run_id: UUID) -> list[UUID]:
    """Return the ids of the cancelled flow runs among a flow run and its parents.

    The list is empty if the API does not reply, so that no job is killed by mistake.
    """
    try:
        with get_client(sync_client=True) as client:
            runs = family(client, flow_run_id)
    except Exception as error:
        # After any error the state is unknown.  For example, ObjectNotFound means that
        # the flow run was deleted while it ran.
        logger.warning(
            "The state of flow run %s could not be read from Prefect's API (%s): its "
            "jobs are left running",
            flow_run_id,
            error,
        )
        return []
    return [one.id for one in runs if one.state_type in CANCELLED]
