"""Private names of Prefect that this package uses.

A test compares `PRIVATE_NAMES` with the installed Prefect.  If a release of Prefect
removes one of these names, the test fails before a user's flow does.
"""

from __future__ import annotations

import threading
from uuid import UUID

from prefect.blocks.core import Block
from prefect.context import FlowRunContext
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.workers.base import BaseJobConfiguration, BaseWorker

PRIVATE_NAMES: dict[type, tuple[str, ...]] = {
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
"""Private names of each class."""

WORKER_NAME_LABEL = "prefect.worker.name"
"""Label of a flow run with the name of the worker that submitted the run."""


def stored_name(block: Block) -> str | None:
    """The name under which a block was saved or loaded; None for an unsaved block."""
    return block._block_document_name


def cancel_event(
    flow: FlowRunContext | None, task_run_id: UUID
) -> threading.Event | None:
    """The event that the thread task runner sets when it stops the task run.

    Without this event, Ctrl-C would wait until the jobs end.
    """
    events = getattr(getattr(flow, "task_runner", None), "_cancel_events", {})
    event = events.get(task_run_id)
    return event if isinstance(event, threading.Event) else None
