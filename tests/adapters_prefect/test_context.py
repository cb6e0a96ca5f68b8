"""Calls in threads, flow runs, and private names of Prefect that must exist."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from prefect import bundles
from prefect.blocks.core import Block
from prefect.client.schemas.objects import StateType
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.workers.base import BaseJobConfiguration, BaseWorker

import tej
import tej_prefect
from tej_prefect import TejDestination, TejWorker, context, credentials
from tej_prefect.context import Run, in_thread

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


def ids(*numbers: int) -> list[UUID]:
    return [UUID(int=number) for number in numbers]


class Client:
    """A client of Prefect's API with flow runs, each with its parent flow run."""

    def __init__(self, parents: dict[int, int | None]) -> None:
        self.parents = {
            UUID(int=one): None if parent is None else UUID(int=parent)
            for one, parent in parents.items()
        }
        self.states: dict[int, StateType] = {}
        self.pages: list[list[UUID]] = []

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read_flow_run(self, one: UUID) -> Any:
        state = self.states.get(one.int, StateType.RUNNING)
        # In this client, a task run has the id of its flow run.
        parent = self.parents[one]
        return SimpleNamespace(id=one, parent_task_run_id=parent, state_type=state)

    def read_task_run(self, one: UUID) -> Any:
        return SimpleNamespace(flow_run_id=one)

    def read_flow_runs(self, flow_run_filter: Any) -> list[Any]:
        wanted = flow_run_filter.id.any_
        self.pages.append(wanted)
        return [self.read_flow_run(one) for one in wanted if one in self.parents]


def test_flow_runs_are_read_once_and_in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "PAGE", 2)
    client: Any = Client({1: None, 2: None, 3: None})
    found = context.read_all(client, ids(1, 2, 1, 3, 4, 5))
    assert client.pages == [ids(1, 2), ids(3, 4), ids(5)]
    assert [*found] == ids(1, 2, 3)
    assert context.read_all(client, []) == {}


def test_cancelled_ancestors_are_known_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    client: Any = Client({1: 2, 2: 3, 3: None, 8: 9, 9: 8})
    client.states = {1: StateType.CANCELLING, 3: StateType.CANCELLED}
    monkeypatch.setattr(context, "get_client", lambda **_: client)
    assert [one.id for one in context.family(client, *ids(1))] == ids(1, 2, 3)
    assert [one.id for one in context.family(client, *ids(8))] == ids(8, 9)
    assert context.cancelled_ancestors(*ids(1)) == ids(1, 3)
    assert context.cancelled_ancestors(*ids(2)) == ids(3)
    # One flow run of the family was deleted.
    del client.parents[UUID(int=3)]
    assert context.cancelled_ancestors(*ids(1)) == []


@pytest.mark.parametrize(
    ("flow_runs", "task_runs", "attempt"), [(0, 0, 1), (2, 1, 2), (1, 3, 3)]
)
def test_retry_of_flow_or_task_is_another_attempt(
    flow_runs: int, task_runs: int, attempt: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow_id, other_id, task_id = ids(1, 2, 3)
    event = threading.Event()
    flow_run = SimpleNamespace(id=flow_id, run_count=flow_runs)
    task_run = SimpleNamespace(flow_run_id=other_id, id=task_id, run_count=task_runs)
    runner = SimpleNamespace(_cancel_events={task_id: event})
    flow: Any = SimpleNamespace(flow_run=flow_run, task_runner=runner)
    found: dict[str, Any] = {"Flow": None, "Task": None}
    for name in found:
        one = SimpleNamespace(get=partial(found.get, name))
        monkeypatch.setattr(context, f"{name}RunContext", one)
    assert context.current_run() == Run()
    assert context.labels_of_run() == {}
    found["Flow"] = flow
    assert context.current_run() == Run(flow_id, attempt=max(1, flow_runs))
    assert context.labels_of_run() == {"prefect-flow-run": str(flow_id)}
    found["Task"] = SimpleNamespace(task_run=task_run)
    assert context.current_run() == Run(other_id, task_id, attempt, event)
    found["Flow"] = None
    assert context.current_run() == Run(other_id, task_id, max(1, task_runs))


def test_queue_gets_the_settings_of_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    def shared_queue(where: Any, queue: str, **options: Any) -> None:
        calls.append((where, queue, options))

    monkeypatch.setattr(tej, "shared_queue", shared_queue)
    TejDestination(destination="lab:23").get_client()
    block = TejDestination(
        host="lab",
        user="me",
        password="p",
        passphrase="words",
        private_key="key",
        host_key_policy="accept-new",
        timeout=5,
        queue="/q",
        runtime="slurm",
        known_hosts="lab ssh-rsa x",
    )
    block.get_client()
    (plain, queue, options), (where, own, own_options) = calls
    assert (plain["username"], plain["port"], plain["password"]) == (None, 23, None)
    assert queue == tej.DEFAULT_TEJ_DIR
    assert (options["ask"], options["key"], options["timeout"]) == (None, None, 30)
    assert options["accept_new_host_key"] is False
    assert (where["username"], where["password"], own) == ("me", "p", "/q")
    ask = own_options.pop("ask")
    assert own_options == {
        "setup_runtime": "slurm",
        "accept_new_host_key": True,
        "timeout": 5,
        "key": "key",
        "known_hosts": "lab ssh-rsa x",
    }
    assert ask("Passphrase for key: ") == "words"
    # The passphrase is not sent to a server that prompts for a password.
    with pytest.raises(tej.AuthenticationFailed, match="'Password:'"):
        ask("Password: ")
    assert "words" not in repr(ask)

    def refuse(*_: object, **__: object) -> None:
        raise ValueError("wrong")

    monkeypatch.setattr(credentials.tej, "shared_queue", refuse)
    with pytest.raises(tej.InvalidDestination, match="wrong"):
        block.get_client()


def test_changed_copy_is_not_the_stored_block() -> None:
    block = TejDestination(destination="lab")
    block._block_document_name = "stored"
    assert context.stored_name(block.model_copy()) == "stored"
    assert context.stored_name(block.model_copy(update={"queue": "/q"})) is None
    assert block.__reduce__() == (credentials.load_destination, ("stored",))
