"""Calls in threads, and private names of Prefect: each is listed, and exists."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from prefect import bundles
from prefect.blocks.core import Block
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.workers.base import BaseJobConfiguration, BaseWorker

import tej_prefect
from tej_prefect import TejWorker
from tej_prefect.context import in_thread

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
"""For each class or module of Prefect, the private names that the adapter uses.

If a release of Prefect removes one of these names, a test fails before a user's flow
does."""
DOCUMENTED = {"_display_name", "_description", "_documentation_url", "_logo_url"}
"""Private names that each worker of Prefect has to define."""
OVERRIDDEN = {"_propose_crashed_state"}
"""Private names of Prefect that the worker overrides on purpose."""
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@pytest.mark.parametrize("owner", PRIVATE_NAMES)
def test_private_names_of_prefect_exist(owner: type | ModuleType) -> None:
    # Attributes of instances are found by their assignment in the source.
    source = inspect.getsource(owner)
    missing = [
        name
        for name in PRIVATE_NAMES[owner]
        if not hasattr(owner, name) and f"self.{name}" not in source
    ]
    assert missing == []


def _names(*kinds: type[ast.expr_context]) -> Iterator[str]:
    """Yield the private attributes that the adapter reads (Load) or sets (Store)."""
    for path in Path(tej_prefect.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, kinds):
                yield node.attr
            elif ast.Store in kinds and isinstance(node, FUNCTIONS):
                yield node.name
            elif ast.Store in kinds and isinstance(node, ast.AnnAssign | ast.Assign):
                targets = (
                    [node.target] if isinstance(node, ast.AnnAssign) else node.targets
                )
                yield from (one.id for one in targets if isinstance(one, ast.Name))


def test_all_used_private_names_are_listed() -> None:
    used = {one for one in _names(ast.Load) if one.startswith("_")}
    own = {*_names(ast.Store), *dir(object), "__name__", "__doc__", "__version__"}
    listed = {name for names in PRIVATE_NAMES.values() for name in names}
    assert used - own <= listed


def test_worker_overrides_no_private_name_by_accident() -> None:
    # A name of the worker's own that a later Prefect uses, too, would replace it.
    theirs = {name for one in BaseWorker.__mro__ for name in vars(one)}
    theirs |= {
        node.attr
        for node in ast.walk(ast.parse(inspect.getsource(BaseWorker)))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }
    mine = {name for name in vars(TejWorker) if not name.startswith("__")}
    tree = ast.parse(inspect.getsource(TejWorker))
    mine |= {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }
    private = {name for name in mine & theirs if name.startswith("_")}
    assert private - DOCUMENTED - OVERRIDDEN <= {"_abc_impl"}


def test_cancelled_call_waits_for_its_thread() -> None:
    """The thread may still have to kill a job."""
    stop = threading.Event()
    ended: list[bool] = []

    def work() -> None:
        ended.append(stop.wait(60))

    async def cancel() -> list[bool]:
        call = asyncio.create_task(in_thread(work, stop))
        await asyncio.sleep(0)
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await call
        return [*ended]

    assert asyncio.run(cancel()) == [True]
