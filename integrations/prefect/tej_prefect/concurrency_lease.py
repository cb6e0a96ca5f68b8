"""Renewal of the concurrency lease of a flow run whose job is pending.

With a lease, a flow run occupies a slot under the concurrency limit of its deployment.
"""

from __future__ import annotations

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun

from tej_prefect.context import logger as worker_logger

LEASE = 300.0
"""Duration of a renewed concurrency lease in seconds, as in Prefect's engine."""


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
        worker_logger.warning(
            "The concurrency lease of flow run %s could not be renewed: %s",
            flow_run.id,
            error,
        )
