"""Private names of Prefect that the package uses.

A test compares `PRIVATE_NAMES` with the installed Prefect.  If a release of Prefect
removes one of these names, the test fails before a user's flow does.
"""

from __future__ import annotations

from types import ModuleType

from prefect import bundles
from prefect.blocks.core import Block
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.workers.base import BaseJobConfiguration, BaseWorker

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
