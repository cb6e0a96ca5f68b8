"""Reconciliation: finds flow runs whose workers have died, and renews their leases."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, StateType, Worker

logger = logging.getLogger("tej.prefect")

WORKER_NAME_LABEL = "prefect.worker.name"
"""Label of a flow run with the name of the worker that submitted the run."""
LEASE = 300.0
"""Duration of a renewed concurrency lease in seconds, as in Prefect's engine."""
MISSED_HEARTBEATS = 3
"""Number of missed heartbeats after which a worker is considered dead.

Prefect itself uses the same number.
"""


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


async def repeat(step: Callable[[], Awaitable[None]], seconds: float) -> None:
    """Call `step` every `seconds` seconds, forever; errors are only logged."""
    while True:
        try:
            await step()
        except Exception as error:
            logger.warning(
                "The flow runs of the work pool were not checked with Prefect's API: "
                "%s; trying again in %d s",
                error,
                seconds,
            )
        await asyncio.sleep(seconds)
