"""Whether a flow run was cancelled: asked of Prefect's server by one thread.

Prefect tells a cancel to the main thread of a deployment's process, and to nobody else:
tasks that wait in threads, and flows that are no deployments, have to ask.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable, Mapping
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound

logger = logging.getLogger("tej.prefect")

PERIOD = 2.0
"""Seconds between two questions."""
BATCH = 200
CANCELLED = frozenset({StateType.CANCELLING, StateType.CANCELLED})


def family(client: SyncPrefectClient, flow_run_id: UUID) -> list[UUID]:
    """A flow run and those that it is a part of, from the inside out."""
    found: list[UUID] = []
    next_id: UUID | None = flow_run_id
    while next_id is not None and next_id not in found:
        found.append(next_id)
        parent = client.read_flow_run(next_id).parent_task_run_id
        next_id = None if parent is None else client.read_task_run(parent).flow_run_id
    return found


def read_all(client: SyncPrefectClient, ids: Iterable[UUID]) -> dict[UUID, FlowRun]:
    """Flow runs by their ids; those that are gone are not among them."""
    wanted = [*dict.fromkeys(ids)]
    found: dict[UUID, FlowRun] = {}
    for start in range(0, len(wanted), BATCH):
        some = FlowRunFilter(id=FlowRunFilterId(any_=wanted[start : start + BATCH]))
        found |= {one.id: one for one in client.read_flow_runs(flow_run_filter=some)}
    return found


def is_cancelled(families: Iterable[UUID], found: Mapping[UUID, FlowRun]) -> bool:
    """Whether one of these was cancelled, or is just being."""
    return any(
        (one := found.get(flow_run_id)) is not None and one.state_type in CANCELLED
        for flow_run_id in families
    )


def ask(flow_run_id: UUID) -> bool:
    """Whether it was cancelled, or what it is a part of; asked now.

    A server that does not answer has not said so: False.
    """
    try:
        with get_client(sync_client=True) as client:
            members = family(client, flow_run_id)
            return is_cancelled(members, read_all(client, members))
    except ObjectNotFound:
        # Deleted while it ran.
        return False
    except Exception as error:
        logger.warning("Whether the flow run was cancelled is not known: %s", error)
        return False


def cancelled_here(client: SyncPrefectClient, flow_run_id: UUID) -> list[FlowRun]:
    """A flow run that was cancelled and the one that it is a part of, from the inside
    out: those that have not ended, unless a deployment's runner will end them."""
    members = family(client, flow_run_id)
    found = read_all(client, members)
    runs = [found[one] for one in members if one in found]
    if any(run.deployment_id is not None for run in runs):
        return []
    while runs and runs[-1].state_type not in CANCELLED:
        runs.pop()
    return [run for run in runs if run.state is None or not run.state.is_final()]


class FlowRuns:
    """The flow runs that this process waits for something in, and which were cancelled.

    Its thread runs while somebody watches.
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._watched: dict[UUID, int] = {}
        self._families: dict[UUID, list[UUID]] = {}
        self._cancelled: set[UUID] = set()
        self._thread: threading.Thread | None = None

    def watch(self, flow_run_id: UUID) -> None:
        """From now on it is asked about, until `unwatch`."""
        if self._pid != os.getpid():
            self._reset()
        with self._changed:
            self._watched[flow_run_id] = self._watched.get(flow_run_id, 0) + 1
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="tej flow runs", daemon=True
                )
                self._thread.start()

    def unwatch(self, flow_run_id: UUID) -> None:
        """One fewer waits for it."""
        with self._changed:
            self._watched[flow_run_id] -= 1
            if not self._watched[flow_run_id]:
                del self._watched[flow_run_id]
                self._families.pop(flow_run_id, None)
                self._cancelled.discard(flow_run_id)
                self._changed.notify_all()

    def is_cancelled(self, flow_run_id: UUID) -> bool:
        """As it was when last asked."""
        return flow_run_id in self._cancelled

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait(PERIOD)
                if not self._watched:
                    self._thread = None
                    return
                watched = [*self._watched]
            try:
                self._look(watched)
            except Exception as error:
                logger.info("Prefect's server cannot be asked: %s", error)

    def _look(self, watched: Iterable[UUID]) -> None:
        with get_client(sync_client=True) as client:
            for flow_run_id in watched:
                if flow_run_id not in self._families:
                    self._families[flow_run_id] = family(client, flow_run_id)
            families = {one: self._families[one] for one in watched}
            found = read_all(client, (one for ids in families.values() for one in ids))
        for flow_run_id, members in families.items():
            if is_cancelled(members, found):
                self._cancelled.add(flow_run_id)


flow_runs = FlowRuns()
"""The process's."""
