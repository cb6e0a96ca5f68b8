"""Which flow run and task run this code is in, if any."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from uuid import UUID

from prefect.context import FlowRunContext, TaskRunContext


@dataclass(frozen=True)
class Run:
    """What is known of it.  Without a flow run nothing is asked of Prefect's server."""

    flow_run_id: UUID | None = None
    task_run_id: UUID | None = None
    attempt: int = 1
    """1, or more if the task run or its flow run is being retried."""
    ending: threading.Event | None = None
    """Set when the task runner stops: by Ctrl-C, a signal, or the flow's end."""

    @property
    def is_ending(self) -> bool:
        """Whether the task runner wants its threads back."""
        return self.ending is not None and self.ending.is_set()


def current_run() -> Run:
    """The run that this thread works for."""
    flow, task = FlowRunContext.get(), TaskRunContext.get()
    flow_run = None if flow is None else flow.flow_run
    attempt = 1 if flow_run is None else max(1, flow_run.run_count)
    if task is not None:
        task_run = task.task_run
        return Run(
            task_run.flow_run_id,
            task_run.id,
            max(attempt, task_run.run_count),
            _ending(flow, task_run.id),
        )
    if flow_run is not None:
        return Run(flow_run.id, attempt=attempt)
    return Run()


def labels_of_run() -> dict[str, str]:
    """By which `tej list` tells which run has started a job."""
    run = current_run()
    found = {"prefect-flow-run": run.flow_run_id, "prefect-task-run": run.task_run_id}
    return {name: str(value) for name, value in found.items() if value is not None}


def _ending(flow: FlowRunContext | None, task_run_id: UUID) -> threading.Event | None:
    # Not public: without it, Ctrl-C waits until the jobs end.
    events = getattr(getattr(flow, "task_runner", None), "_cancel_events", {})
    event = events.get(task_run_id)
    return event if isinstance(event, threading.Event) else None
