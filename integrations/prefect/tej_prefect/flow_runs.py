"""Flow runs: reads flow runs, their parents and live workers from Prefect's API."""

from __future__ import annotations

import logging
from collections.abc import Iterable
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
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType, Worker

logger = logging.getLogger("tej.prefect")

BATCH = 200
"""Maximum number of flow runs in one reply of the API."""
UNENDED = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
MISSED_HEARTBEATS = 3
"""Number of missed heartbeats after which a worker is considered dead.

Prefect itself uses the same number.
"""
CANCELLED = frozenset({StateType.CANCELLING, StateType.CANCELLED})


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
    """Return the cancelled flow runs among a flow run and its parents, from the API.

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


async def unended_flow_runs(client: PrefectClient, work_pool: str) -> list[FlowRun]:
    """Return the flow runs of a work pool that are pending, running or cancelling."""
    found: list[FlowRun] = []
    while True:
        page = await client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=UNENDED))
            ),
            work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[work_pool])),
            limit=BATCH,
            offset=len(found),
        )
        found += page
        if len(page) < BATCH:
            return found


def names_of_live(workers: Iterable[Worker]) -> set[str]:
    """Return the names of the workers of a pool whose heartbeats are recent.

    All heartbeat times come from the API's clock.  The time of the newest heartbeat is
    used as the current time, because the calling worker also sends heartbeats.
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
