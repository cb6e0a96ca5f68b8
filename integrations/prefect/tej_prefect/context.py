"""Run context: the flow run and task run that the calling code belongs to.

This module also contains the list of the private names of Prefect that the package
uses.  A test compares `PRIVATE_NAMES` with the installed Prefect.  If a release of
Prefect removes one of these names, the test fails before a user's flow does.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar
from uuid import UUID

from prefect import bundles
from prefect.blocks.core import Block
from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import MissingContextError
from prefect.logging import get_logger, get_run_logger
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.workers.base import BaseJobConfiguration, BaseWorker

if TYPE_CHECKING:
    from logging import Logger, LoggerAdapter

Owner = TypeVar("Owner")
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

PRIVATE_NAMES: dict[type | ModuleType, tuple[str, ...]] = {
    bundles: ("_deserialize_bundle_object", "_serialize_bundle_object"),
    Block: ("_block_document_name",),
    ThreadPoolTaskRunner: ("_cancel_events",),
    BaseJobConfiguration: ("_base_flow_run_command",),
    BaseWorker: (
        "_logger",
        "_mark_flow_run_as_cancelled",
        "_propose_crashed_state",
        "_runs_task_group",
        "_submitting_flow_run_ids",
        "_work_pool_name",
    ),
}
"""For each class or module of Prefect, the private names that this package uses."""


@dataclass(frozen=True)
class Run:
    """Ids of the current flow run and task run; None outside of a flow or task."""

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
        # Without a check of this event, Ctrl-C would end the flow only after its jobs
        # have ended.
        events = getattr(getattr(flow, "task_runner", None), "_cancel_events", {})
        return Run(
            task_run.flow_run_id,
            task_run.id,
            max(attempt, task_run.run_count),
            events.get(task_run.id),
        )
    if flow_run is not None:
        return Run(flow_run.id, attempt=attempt)
    return Run()


def labels_of_run() -> dict[str, str]:
    """Return job labels with the ids of the current runs, for `tej list --label`."""
    run = current_run()
    found = {"prefect-flow-run": run.flow_run_id, "prefect-task-run": run.task_run_id}
    return {name: str(value) for name, value in found.items() if value is not None}


def run_logger() -> Logger | LoggerAdapter[Logger]:
    """Return the logger of the current run, or an ordinary logger outside of a run."""
    try:
        return get_run_logger()
    except MissingContextError:
        return get_logger("tej")


async def in_thread(
    function: Callable[[], Result], stop: threading.Event | None = None
) -> Result:
    """Call a blocking function in a new thread and return its result.

    If the calling task is cancelled and `stop` is not None, `stop` is set, and the call
    waits for the end of the thread, because the thread may still have to kill a job.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()
    context = copy_context()

    def set_outcome(result: Result | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        try:
            outcome = (context.run(function), None)
        except BaseException as error:
            outcome = (None, error)  # type: ignore[assignment]
        # RuntimeError means that the loop is closed: no task waits for the outcome.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(set_outcome, *outcome)

    # The loop's executor is not used, because its few threads would be blocked while
    # jobs run, and because asyncio waits for the executor's threads at exit.
    threading.Thread(target=run, name="tej call", daemon=True).start()
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        if stop is not None:
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


def stored_name(block: Block) -> str | None:
    """Return the name under which a block is stored; None for an unsaved block."""
    return block._block_document_name
