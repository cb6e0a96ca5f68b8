"""Takeover of flow runs: find the flow runs whose worker has died.

A worker takes over the flow runs of its work pool that no live worker continues.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterStateType,
    Operator,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType, Worker

from tej_prefect.context import PAGE
from tej_prefect.worker_job import AWAITING_RETRY, UNENDED, needs_process

WORKER_NAME_LABEL = "prefect.worker.name"
"""Label of a flow run with the name of the worker that submitted the run."""
MISSED_HEARTBEATS = 3
"""Number of missed heartbeats after which a worker is considered dead, as in Prefect
itself."""


async def unended_flow_runs(client: PrefectClient, work_pool: str) -> list[FlowRun]:
    """Return the flow runs of a work pool for which `needs_process` is true."""
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
            limit=PAGE,
            offset=len(found),
        )
        found += page
        if len(page) < PAGE:
            return [one for one in found if needs_process(one)]


class OrphanFinder:
    """Finds the flow runs that one worker must take over."""

    def __init__(self, worker_name: str) -> None:
        self._worker_name = worker_name
        self._pending: set[UUID] = set()
        """Pending flow runs without a live worker at the last call to `find`."""

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
                # Wait for the next call: a live worker may be submitting the flow run
                # without having written its name to the label yet.
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
