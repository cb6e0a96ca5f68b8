"""Which other flow runs want a job: while one does, a cancel leaves it alone.

A flow run says which jobs it wants in its artifact "tej-jobs", before it waits.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import Artifact, StateType

from tej_prefect.flow_runs import family, is_cancelled, read_all

KEY = "tej-jobs"
AWAITED_KEY = "tej-awaited"
"""Of the jobs that a suspended flow run waits for."""
UNDER_WAY = [
    StateType.SCHEDULED,
    StateType.PENDING,
    StateType.RUNNING,
    StateType.PAUSED,
]
PAGE = 200


def wanted_by_others(
    flow_run_id: UUID, place: str, job_ids: Iterable[str]
) -> dict[str, UUID]:
    """The jobs among these that another flow run wants, and which one.

    A flow run that has ended, or was cancelled, wants nothing any more.  Raises what
    Prefect's client raises if the server does not answer.
    """
    ids = set(job_ids)
    others = FlowRunFilter(
        id=FlowRunFilterId(not_any_=[flow_run_id]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=UNDER_WAY)),
    )
    with get_client(sync_client=True) as client:
        wanted = {
            job_id: artifact.flow_run_id
            for artifact in artifacts(client, [KEY, AWAITED_KEY], others)
            if artifact.flow_run_id is not None
            for job_id in ids & _jobs_of(artifact, place)
        }
        own = family(client, flow_run_id)
        families = {other: family(client, other) for other in {*wanted.values()}}
        found = read_all(client, (one for ids in families.values() for one in ids))
    return {
        job_id: other
        for job_id, other in wanted.items()
        if own[-1] not in families[other] and not is_cancelled(families[other], found)
    }


def rows_of(artifact: Artifact) -> list[dict[str, object]]:
    """The table that it shows."""
    data = artifact.data
    rows = json.loads(data) if isinstance(data, str) else data
    return [row for row in rows or [] if isinstance(row, dict)]


def _jobs_of(artifact: Artifact, place: str) -> set[str]:
    return {str(row["job"]) for row in rows_of(artifact) if row.get("place") == place}


def artifacts(
    client: SyncPrefectClient, keys: list[str], flow_runs: FlowRunFilter
) -> Iterator[Artifact]:
    """All artifacts of these keys that belong to these flow runs."""
    offset = 0
    while True:
        page = client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=keys)),
            flow_run_filter=flow_runs,
            limit=PAGE,
            offset=offset,
        )
        yield from page
        if len(page) < PAGE:
            return
        offset += PAGE
