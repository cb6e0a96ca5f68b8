"""Flow runs: their states, parents, workers and leases, as read from Prefect's API.

The worker reconciles the flow runs of its work pool with these functions.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Collection, Iterable
from uuid import UUID

from prefect.client.orchestration import (
    PrefectClient,
    SyncPrefectClient,
    get_client,
)
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterStateType,
    Operator,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType, Worker
from prefect.exceptions import ObjectNotFound

logger = logging.getLogger("tej.prefect")

BATCH = 200
"""Maximum number of flow runs in one reply of the API."""
UNENDED = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
POLL_PERIOD = 2.0
"""Seconds between two polls of Prefect's API."""
AWAITING_RETRY = "AwaitingRetry"
"""Name of the state of a flow run that failed and will be retried."""
CANCELLED = frozenset({StateType.CANCELLING, StateType.CANCELLED})
WORKER_NAME_LABEL = "prefect.worker.name"
"""Label of a flow run with the name of the worker that submitted the run."""
LEASE = 300.0
"""Duration of a renewed concurrency lease in seconds, as in Prefect's engine."""
MISSED_HEARTBEATS = 3
"""Number of missed heartbeats after which a worker is considered dead.

Prefect itself uses the same number.
"""


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
    for start in range(0, len(wanted), BATCH):
        some = FlowRunFilter(id=FlowRunFilterId(any_=wanted[start : start + BATCH]))
        found |= {one.id: one for one in client.read_flow_runs(flow_run_filter=some)}
    return found


def cancelled_ancestors(flow_run_id: UUID) -> list[UUID]:
    """Return which of a flow run and its parents are cancelled, by Prefect's API.

    The list is empty if the API does not reply, so that no job is killed by mistake.
    """
    try:
        with get_client(sync_client=True) as client:
            runs = family(client, flow_run_id)
    except Exception as error:
        # If the flow run was deleted while it ran, the error is ObjectNotFound.
        logger.warning(
            "The state of flow run %s could not be read from Prefect's API (%s): its "
            "jobs are left running",
            flow_run_id,
            error,
        )
        return []
    return [one.id for one in runs if one.state_type in CANCELLED]


def cancelled_without_runner(
    client: SyncPrefectClient, flow_run_id: UUID
) -> list[FlowRun]:
    """Return the flow runs that this process must set to Cancelled, innermost first.

    The list is empty for a flow run of a deployment, because Prefect's runner sets the
    state of that flow run.
    """
    runs = family(client, flow_run_id)
    if any(run.deployment_id is not None for run in runs):
        return []
    while runs and runs[-1].state_type not in CANCELLED:
        runs.pop()
    return [run for run in runs if run.state is None or not run.state.is_final()]


def needs_process(flow_run: FlowRun) -> bool:
    """Return whether the flow run cannot continue without its current process.

    Returns False for a flow run that has ended, is suspended, or will be started by a
    worker.  Returns True for a flow that waits in its process for a retry or a pause.
    """
    state = flow_run.state
    if state is None:
        return False
    if state.type is StateType.SCHEDULED:
        # No worker starts a flow run that waits in its own process for a retry.
        in_process = flow_run.empirical_policy.retry_type == "in_process"
        return in_process and state.name == AWAITING_RETRY
    if state.type is StateType.PAUSED:
        return not state.state_details.pause_reschedule
    return state.type in UNENDED


async def unended_flow_runs(client: PrefectClient, work_pool: str) -> list[FlowRun]:
    """Return the flow runs of a work pool that need their current process."""
    states = FlowRunFilterState(
        operator=Operator.or_,  # type: ignore[call-arg]
        type=FlowRunFilterStateType(any_=UNENDED),
        name=FlowRunFilterStateName(any_=[AWAITING_RETRY, "Paused"]),
    )
    found: list[FlowRun] = []
    while True:
        page = await client.read_flow_runs(
            flow_run_filter=FlowRunFilter(state=states),
            work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[work_pool])),
            limit=BATCH,
            offset=len(found),
        )
        found += page
        if len(page) < BATCH:
            return [one for one in found if needs_process(one)]


class OrphanFinder:
    """Finds the flow runs that no live worker continues, for one worker."""

    def __init__(self, worker_name: str) -> None:
        self._worker_name = worker_name
        self._pending: set[UUID] = set()
        """Pending flow runs without a live worker at the last call of `find`."""

    def find(
        self, flow_runs: Iterable[FlowRun], live_workers: Collection[str]
    ) -> list[FlowRun]:
        """Return the flow runs that the worker must take over.

        `flow_runs` are the unended flow runs that the worker does not follow.
        """
        orphans: list[FlowRun] = []
        seen, self._pending = self._pending, set()
        for flow_run in flow_runs:
            owner = flow_run.labels.get(WORKER_NAME_LABEL)
            # A flow run without a deployment cannot be taken over, because only the
            # process that called the flow has the bundle.
            has_caller = owner is None and flow_run.deployment_id is None
            is_owned = owner in live_workers and owner != self._worker_name
            if is_owned or has_caller:
                continue
            if flow_run.state_type is StateType.PENDING and flow_run.id not in seen:
                # A live worker may be submitting the flow run, and may not have set
                # the worker's label yet.
                self._pending.add(flow_run.id)
            else:
                orphans.append(flow_run)
        return orphans


def names_of_live(workers: Iterable[Worker]) -> set[str]:
    """Return the names of the workers of a pool whose heartbeats are recent.

    All heartbeat times come from the API's clock.  The time of the newest heartbeat is
    used as the current time, because the calling worker also sends heartbeats.  The
    status of a worker is not used, because the API may report a dead worker as online.
    """
    beats = {
        one.name: (one.last_heartbeat_time, one.heartbeat_interval_seconds or 30)
        for one in workers
        if one.last_heartbeat_time is not None
    }
    newest = max((beat for beat, _ in beats.values()), default=None)
    return {
        name
        for name, (beat, interval) in beats.items()
        if newest is not None
        and (newest - beat).total_seconds() < MISSED_HEARTBEATS * interval
    }


async def renew_lease(client: PrefectClient, flow_run: FlowRun) -> None:
    """Renew the deployment's concurrency lease of a pending flow run.

    Prefect renews the lease only while the flow itself runs.  A lease that expires
    while the job waits in a scheduler's queue would cancel the flow run.
    """
    state = flow_run.state
    lease = state and state.state_details.deployment_concurrency_lease_id
    if not lease:
        return
    try:
        await client.renew_concurrency_lease(lease, LEASE)
    except Exception as error:
        logger.warning(
            "The concurrency lease of flow run %s was not renewed: %s",
            flow_run.id,
            error,
        )


def is_exiting() -> bool:
    """Return whether the interpreter exits, so that threads must not use the API.

    Without an API URL, Prefect starts a temporary server, and stops the server when the
    interpreter exits.  A later request would start another server, which no process
    would stop.  The interpreter exits when only daemon threads are left: a flow in
    another thread may continue after the end of the main thread.
    """
    return all(one.daemon or not one.is_alive() for one in threading.enumerate())


class CancellationPoller:
    """Polls the states of the flow runs that wait for jobs in this process.

    Prefect reports a cancellation only to the main thread of a deployment's process.
    Therefore tasks in other threads and flows without a deployment have to poll the
    API.  The polling thread runs while at least one flow run is watched.
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
        """Undo one call of `watch`; when all calls are undone, the polling stops."""
        with self._changed:
            self._watched[flow_run_id] -= 1
            if not self._watched[flow_run_id]:
                del self._watched[flow_run_id]
                self._families.pop(flow_run_id, None)
                self._cancelled.discard(flow_run_id)
                self._changed.notify_all()

    def is_cancelled(self, flow_run_id: UUID) -> bool:
        """Return whether the flow run or a parent was cancelled at the last poll."""
        return flow_run_id in self._cancelled

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait(POLL_PERIOD)
                if not self._watched or is_exiting():
                    self._thread = None
                    return
                watched = [*self._watched]
            try:
                self._poll(watched)
            except Exception as error:
                logger.info(
                    "The states of flow runs were not read from Prefect's API: %s",
                    error,
                )

    def _poll(self, watched: Iterable[UUID]) -> None:
        with get_client(sync_client=True) as client:
            families = {one: self._family(client, one) for one in watched}
            found = read_all(client, (one for ids in families.values() for one in ids))
        cancelled = {one.id for one in found.values() if one.state_type in CANCELLED}
        with self._changed:
            # During the request to the API, the flow run may have been retried, or
            # `unwatch` may have been called.
            self._cancelled = {
                flow_run_id
                for flow_run_id, ids in families.items()
                if flow_run_id in self._watched and cancelled.intersection(ids)
            }

    def _family(self, client: SyncPrefectClient, flow_run_id: UUID) -> list[UUID]:
        if flow_run_id not in self._families:
            try:
                members = [one.id for one in family(client, flow_run_id)]
            except ObjectNotFound:
                # A deleted flow run must not end the poll of the other flow runs.
                members = [flow_run_id]
            self._families[flow_run_id] = members
        return self._families[flow_run_id]


poller = CancellationPoller()
"""The only cancellation poller of this process."""
