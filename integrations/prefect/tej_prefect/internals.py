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
"""For each class of Prefect, the private names that this package uses."""

WORKER_NAME_LABEL = "prefect.worker.name"
"""Label of a flow run with the name of the worker that submitted the run."""


def stored_name(block: Block) -> str | None:
    """Return the name under which a block is stored; None for an unsaved block."""
    return block._block_document_name


def cancel_event(
    flow: FlowRunContext | None, task_run_id: UUID
) -> threading.Event | None:
    """Return the event that the thread task runner sets when it stops the task run.

    A task that waits for jobs checks this event.  Otherwise the flow would end after
    Ctrl-C only when its jobs have ended.
    """
    events = getattr(getattr(flow, "task_runner", None), "_cancel_events", {})
    event = events.get(task_run_id)
    return event if isinstance(event, threading.Event) else None
