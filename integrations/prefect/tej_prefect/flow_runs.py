"""Flow run states: cancellation polling by one thread per process.

Prefect reports a cancellation only to the main thread of a deployment's process.
Therefore tasks in other threads and flows without a deployment have to poll the API.
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

logger = logging.getLogger("tej.prefect")

PERIOD = 2.0
"""Seconds between two polls of Prefect's API."""
BATCH = 200
"""Maximum number of flow runs in one reply of the API."""
CANCELLED = frozenset({StateType.CANCELLING, StateType.CANCELLED})


def ancestors(client: SyncPrefectClient, flow_run_id: UUID) -> list[UUID]:
    """Return the ids of the flow run and its parent flow runs, innermost first."""
    found: list[UUID] = []
    next_id: UUID | None = flow_run_id
    while next_id is not None and next_id not in found:
        found.append(next_id)
        parent = client.read_flow_run(next_id).parent_task_run_id
        next_id = None if parent is None else client.read_task_run(parent).flow_run_id
    return found


def read_all(client: SyncPrefectClient, ids: Iterable[UUID]) -> dict[UUID, FlowRun]:
    """Read flow runs from the API, by id; the result has no deleted flow runs."""
    wanted = [*dict.fromkeys(ids)]
    found: dict[UUID, FlowRun] = {}
    for start in range(0, len(wanted), BATCH):
        some = FlowRunFilter(id=FlowRunFilterId(any_=wanted[start : start + BATCH]))
        found |= {one.id: one for one in client.read_flow_runs(flow_run_filter=some)}
    return found


def is_cancelled(ids: Iterable[UUID], found: Mapping[UUID, FlowRun]) -> bool:
    """Return whether a flow run in `ids` is cancelled or being cancelled."""
    return any(
        (one := found.get(flow_run_id)) is not None and one.state_type in CANCELLED
        for flow_run_id in ids
    )


def cancelled_ancestors(flow_run_id: UUID) -> list[UUID]:
    """Return which of a flow run and its parents are cancelled, as read from the API.

    The list is empty if the API does not reply, so that no job is killed by mistake.
    """
    try:
        with get_client(sync_client=True) as client:
            members = ancestors(client, flow_run_id)
            found = read_all(client, members)
    except Exception as error:
        # The error may be ObjectNotFound, if the flow run was deleted while it ran.
        logger.warning(
            "The state of flow run %s could not be read from Prefect's API (%s): its "
            "jobs are left running",
            flow_run_id,
            error,
        )
        return []
    return [one for one in members if is_cancelled([one], found)]


def cancelled_without_runner(
    client: SyncPrefectClient, flow_run_id: UUID
) -> list[FlowRun]:
    """Return the flow runs that this process must set to Cancelled, innermost first.

    The list is empty for a flow run of a deployment, because Prefect's runner sets the
    state of that flow run.
    """
    members = ancestors(client, flow_run_id)
    found = read_all(client, members)
    runs = [found[one] for one in members if one in found]
    if any(run.deployment_id is not None for run in runs):
        return []
    while runs and runs[-1].state_type not in CANCELLED:
        runs.pop()
    return [run for run in runs if run.state is None or not run.state.is_final()]


class CancellationPoller:
    """Polls the states of the flow runs that wait for jobs in this process.

    The polling thread runs while at least one flow run is watched.
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._watched: dict[UUID, int] = {}
        self._ancestors: dict[UUID, list[UUID]] = {}
        self._cancelled: set[UUID] = set()
        self._thread: threading.Thread | None = None

    def watch(self, flow_run_id: UUID) -> None:
        """Poll this flow run until `unwatch` was called as often as `watch`.

        The polling thread is started if it does not run.
        """
        if self._pid != os.getpid():
            # After a fork the thread does not exist in this process, and the lock may
            # be locked by a thread of the parent process.
            self._reset()
        with self._changed:
            self._watched[flow_run_id] = self._watched.get(flow_run_id, 0) + 1
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="tej cancellation poller", daemon=True
                )
                self._thread.start()

    def unwatch(self, flow_run_id: UUID) -> None:
        """Undo one call of `watch`; after the last, the flow run is not polled."""
        with self._changed:
            self._watched[flow_run_id] -= 1
            if not self._watched[flow_run_id]:
                del self._watched[flow_run_id]
                self._ancestors.pop(flow_run_id, None)
                self._cancelled.discard(flow_run_id)
                self._changed.notify_all()

    def is_cancelled(self, flow_run_id: UUID) -> bool:
        """Return whether the flow run or a parent was cancelled at the last poll."""
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
                self._poll(watched)
            except Exception as error:
                logger.info("Prefect's API did not answer a poll: %s", error)

    def _poll(self, watched: Iterable[UUID]) -> None:
        with get_client(sync_client=True) as client:
            for flow_run_id in watched:
                if flow_run_id not in self._ancestors:
                    self._ancestors[flow_run_id] = ancestors(client, flow_run_id)
            members = {one: self._ancestors[one] for one in watched}
            found = read_all(client, (one for ids in members.values() for one in ids))
        for flow_run_id, ids in members.items():
            if is_cancelled(ids, found):
                self._cancelled.add(flow_run_id)


poller = CancellationPoller()
"""The only cancellation poller of this process."""
