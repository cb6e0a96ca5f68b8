"""What resumes the flow runs whose jobs have ended.

`python -m tej_prefect` does it every minute; or the flow `tej_resumer` is deployed,
with a schedule: `tej_resumer.serve(name="tej-resumer", interval=60)`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from uuid import UUID

from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import Artifact, FlowRun, StateType
from prefect.exceptions import NotPausedError
from prefect.flow_runs import resume_flow_run

import tej
from tej_prefect.custody import run_logger
from tej_prefect.destination import load_destination
from tej_prefect.owners import AWAITED_KEY, KEY, artifacts, rows_of, wanted_by_others

RECENT = timedelta(days=1)
"""How long the jobs of a cancelled flow run are looked for."""

Row = dict[str, object]


@flow(name="tej-resumer")
def tej_resumer() -> None:
    """Resume the flow runs that were suspended until jobs end, if they have; kill the
    jobs of those that were cancelled meanwhile."""
    resume_done()
    kill_cancelled()


def resume_done() -> list[UUID]:
    """The flow runs that were resumed."""
    logger = run_logger()
    awaited = [
        (flow_run, rows_of(artifact))
        for flow_run, artifact in _awaited([StateType.PAUSED])
        if flow_run.state is not None
        and flow_run.state.state_details.pause_key == artifact.description
    ]
    over = _over(row for _, rows in awaited for row in rows)
    resumed: list[UUID] = []
    for flow_run, rows in awaited:
        if all(_name(row) in over for row in rows):
            try:
                resume_flow_run(flow_run.id)
            except NotPausedError:
                continue
            logger.info("Flow run %r goes on: its jobs have ended", flow_run.name)
            resumed.append(flow_run.id)
    return resumed


def kill_cancelled() -> None:
    """Kill the jobs of flow runs that were cancelled while they were suspended."""
    since = datetime.now(timezone.utc) - RECENT
    for flow_run, artifact in _awaited([StateType.CANCELLED]):
        if flow_run.state is not None and flow_run.state.timestamp > since:
            kill_rows(flow_run.id, rows_of(artifact))


def kill_jobs_on_cancellation(flow: object, flow_run: FlowRun, state: object) -> None:
    """A hook, for flows that do not wait for all of their jobs all the time.

        @flow(on_cancellation=[kill_jobs_on_cancellation])

    Kills what `submit_job` has started, if its destination is a stored block.
    """
    with get_client(sync_client=True) as client:
        mine = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run.id]))
        found = [*artifacts(client, [KEY, AWAITED_KEY], mine)]
    kill_rows(flow_run.id, [row for one in found for row in rows_of(one)])


def kill_rows(flow_run_id: UUID, rows: Iterable[Row]) -> None:
    """Kill the jobs that a flow run wanted, and that no other one wants."""
    logger = run_logger()
    by_block: dict[str, list[str]] = {}
    for row in rows:
        if row.get("on cancel") != "kill":
            continue
        if not row.get("block"):
            logger.warning("Job %s goes on: its destination is not stored", row["job"])
            continue
        by_block.setdefault(str(row["block"]), []).append(str(row["job"]))
    for block, job_ids in by_block.items():
        try:
            destination = load_destination(block)
            others = wanted_by_others(flow_run_id, destination.place, job_ids)
            ours = [job_id for job_id in job_ids if job_id not in others]
            for job_id, killed in destination.get_client().kill_many(ours).items():
                if killed is not None and not killed.was.final:
                    logger.info("Job %s: %s", job_id, killed.status.describe())
        except (tej.Error, ValueError) as error:
            logger.warning("Jobs %s may go on: %s", ", ".join(job_ids), error)


def _awaited(states: list[StateType]) -> list[tuple[FlowRun, Artifact]]:
    """Flow runs in these states with what they wait for, as they said it last."""
    with get_client(sync_client=True) as client:
        wanted = FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=states))
        )
        newest: dict[UUID, Artifact] = {}
        for artifact in artifacts(client, [AWAITED_KEY], wanted):
            flow_run_id = artifact.flow_run_id
            if flow_run_id is None:
                continue
            before = newest.get(flow_run_id)
            if before is None or str(before.created) < str(artifact.created):
                newest[flow_run_id] = artifact
        return [
            (_read(client, flow_run_id), artifact)
            for flow_run_id, artifact in newest.items()
        ]


def _read(client: SyncPrefectClient, flow_run_id: UUID) -> FlowRun:
    return client.read_flow_run(flow_run_id)


def _over(rows: Iterable[Row]) -> set[tuple[str, str]]:
    """The jobs among these that have ended, or are gone, by block and id: one round
    trip for each block."""
    by_block: dict[str, set[str]] = {}
    for row in rows:
        block, job_id = _name(row)
        by_block.setdefault(block, set()).add(job_id)
    over: set[tuple[str, str]] = set()
    for block, job_ids in by_block.items():
        try:
            statuses = load_destination(block).get_client().statuses(job_ids)
        except (tej.Error, ValueError) as error:
            run_logger().warning("What has become of jobs at %s: %s", block, error)
            continue
        over |= {
            (block, job_id)
            for job_id, status in statuses.items()
            if status is None or status.state.final
        }
    return over


def _name(row: Row) -> tuple[str, str]:
    return str(row.get("block")), str(row.get("job"))
