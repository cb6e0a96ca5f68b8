"""Suspension: flow runs wait for long jobs without a process, and are then resumed.

`suspend_until_done` ends the flow's process.  A worker of type `tej`, or a deployment
of `tej_resumer`, calls `reconcile` every minute.  `reconcile` resumes suspended flow
runs whose jobs have ended, and kills the jobs of flow runs that were cancelled while
suspended.  A resumed flow starts from its beginning and finds its jobs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from uuid import UUID, uuid4

from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import Artifact, FlowRun, StateType
from prefect.exceptions import NotPausedError
from prefect.flow_runs import resume_flow_run, suspend_flow_run

import tej
from tej_prefect.artifacts import AWAITED_KEY, JOBS_KEY, JobArtifacts, Row
from tej_prefect.claims import claim_suspended, unclaim_suspended
from tej_prefect.context import PAGE, current_run, read_all, run_logger, stored_name
from tej_prefect.credentials import load_destination
from tej_prefect.flow_run_cancellation import KillCounts, kill_unclaimed
from tej_prefect.job_result import by_queue
from tej_prefect.jobs import TejJobRun

PAUSE_KEY = "tej-"
"""Prefix of the pause keys of this module."""
RECENT = timedelta(days=1)
"""Age after which `reconcile` ignores the cancellation of a flow run."""

_killed: set[UUID] = set()
"""Ids of the tables that list the jobs of a cancelled flow run, if this process has
killed all these jobs or left them running."""
_unusable: dict[str, str] = {}
"""The reason why a block could not be used the last time, by the block's name."""


def suspend_until_done(runs: TejJobRun | Sequence[TejJobRun]) -> None:
    """Suspend the flow run until the jobs have ended.

    If all jobs have ended already, the function returns at once.

        @flow
        def study() -> None:
            runs = [submit_job(job) for job in jobs]
            suspend_until_done(runs)
            results = [fetch_results(run) for run in runs]

    Call this function in the body of a flow that runs as a deployment.  When the flow
    run is resumed, the code before the call to `suspend_until_done` runs again.
    Therefore the code before the call should be fast, or should only call tasks of this
    package.

    Raises ValueError if a destination is not a stored block, because the program that
    resumes the flow run can load only stored blocks.
    """
    jobs = [runs] if isinstance(runs, TejJobRun) else list(runs)
    for job in jobs:
        if stored_name(job.destination) is None:
            raise ValueError(
                f"The destination {job.destination.place} is not a stored block, so "
                "the flow run could not be resumed: call TejDestination(...).save(NAME)"
                ", and then TejDestination.load(NAME)"
            )
    run = current_run()
    claims, running = _claims_of(jobs)
    if not running:
        for queue, stage, _ in claims:
            if run.flow_run_id is not None:
                unclaim_suspended(queue, stage, run.flow_run_id)
        return
    run_logger().info("Suspending: %d of %d jobs have not ended", running, len(jobs))
    # Each suspension needs a new key, because Prefect treats a suspension with a used
    # key as already resumed.
    key = f"{PAUSE_KEY}{uuid4()}"
    JobArtifacts(run, key=AWAITED_KEY, description=key).add(dict.fromkeys(jobs))
    for queue, stage, ids in claims:
        if run.flow_run_id is not None:
            claim_suspended(queue, stage, run.flow_run_id, ids)
    suspend_flow_run(key=key)


def _claims_of(
    jobs: Sequence[TejJobRun],
) -> tuple[list[tuple[tej.RemoteQueue, str, list[str]]], int]:
    """Return arguments for `claim_suspended`, and the number of unended jobs.

    Raises tej.JobNotFound if a job does not exist.
    """
    claims: list[tuple[tej.RemoteQueue, str, list[str]]] = []
    running = 0
    for queue, some in by_queue(jobs).items():
        for job_id, status in queue.statuses(some).items():
            if status is None:
                place = some[job_id].destination.place
                raise tej.JobNotFound(f"Job '{job_id}' not found at {place}")
            running += not status.state.final
            stage = str(status.directory)
        claims.append((queue, stage, [*some]))
    return claims, running


@flow(name="tej-resumer")
def tej_resumer() -> None:
    """Resume flow runs whose jobs have ended; kill the jobs of cancelled flow runs.

    A worker of type `tej` does the same every minute.  Without such a worker, deploy
    `tej_resumer` with a schedule: `tej_resumer.serve(interval=60)`.
    """
    reconcile()


def reconcile() -> None:
    """Resume suspended flow runs whose jobs have ended.

    Also kill the jobs of flow runs that were cancelled while they were suspended.
    """
    _resume_done()
    _kill_cancelled()


def _resume_done() -> None:
    logger = run_logger()
    awaited = [
        (flow_run, _rows_of(artifact))
        for flow_run, artifact in _awaited(StateType.PAUSED)
        if flow_run.state is not None
        and flow_run.state.state_details.pause_key == artifact.description
    ]
    ended = _ended(row for _, rows in awaited for row in rows)
    for flow_run, rows in awaited:
        if all(_name(row) in ended for row in rows):
            try:
                resume_flow_run(flow_run.id)
            except NotPausedError:
                # The error means that another worker has already resumed the flow run.
                continue
            except Exception as error:
                # The other flow runs are resumed nevertheless.
                logger.warning(
                    "Flow run %r could not be resumed: %s", flow_run.name, error
                )
                continue
            logger.info("Flow run %r is resumed: its jobs have ended", flow_run.name)


def _kill_cancelled() -> None:
    since = datetime.now(timezone.utc) - RECENT
    for flow_run, table in _awaited(StateType.CANCELLED):
        state = flow_run.state
        if state is None or state.timestamp < since or table.id in _killed:
            continue
        if _kill_rows(flow_run.id, _rows_of(table), suspended=True).is_complete:
            _killed.add(table.id)


def kill_jobs_on_cancellation(flow: object, flow_run: FlowRun, state: object) -> None:
    """Kill a cancelled flow run's jobs at destinations that are stored as blocks.

        @flow(on_cancellation=[kill_jobs_on_cancellation])

    Use this hook for a flow that starts jobs with `submit_job` and does not always wait
    until the jobs have ended.
    """
    with get_client(sync_client=True) as client:
        mine = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run.id]))
        found = [*_read_artifacts(client, [JOBS_KEY, AWAITED_KEY], mine)]
    _kill_rows(flow_run.id, [row for one in found for row in _rows_of(one)])


def _kill_rows(
    flow_run_id: UUID, rows: Iterable[Row], *, suspended: bool = False
) -> KillCounts:
    """Kill a cancelled flow run's jobs, except those claimed by other flow runs.

    `suspended` is true if the flow run was cancelled while it was suspended.
    """
    counts = KillCounts()
    killed: list[Row] = []
    for row in rows:
        if row.get("on cancel") != "kill":
            counts.leave(1, 'on_cancel="leave"')
        elif not row.get("block"):
            counts.leave(1, "the destination is not a stored block")
        else:
            killed.append(row)
    for _, queue, job_ids in _by_block(killed):
        if queue is None:
            counts.miss(len(job_ids))
        else:
            claimant = flow_run_id if suspended else None
            kill_unclaimed(queue, job_ids, [flow_run_id], counts, suspended=claimant)
    if counts != KillCounts():
        run_logger().info("Flow run %s was cancelled: %s", flow_run_id, counts)
    return counts


def _awaited(state: StateType) -> list[tuple[FlowRun, Artifact]]:
    """Return the flow runs in `state`, each with a table of the jobs it waits for."""
    wanted = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[state]))
    )
    with get_client(sync_client=True) as client:
        tables = [*_read_artifacts(client, [AWAITED_KEY], wanted)]
        found = read_all(client, (one.flow_run_id for one in tables if one.flow_run_id))
    return [(found[id_], one) for one in tables if (id_ := one.flow_run_id) in found]


def _read_artifacts(
    client: SyncPrefectClient, keys: list[str], flow_runs: FlowRunFilter
) -> Iterator[Artifact]:
    """Yield the artifacts of the selected flow runs that have one of the keys."""
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


def _rows_of(artifact: Artifact) -> list[Row]:
    """Return the rows of a table artifact."""
    data = artifact.data
    rows = json.loads(data) if isinstance(data, str) else data
    return [row for row in rows or [] if isinstance(row, dict)]


def _ended(rows: Iterable[Row]) -> set[tuple[str, str]]:
    """Return the block names and ids of the jobs that have ended or were deleted.

    One request to each destination reads the states of all its jobs.
    """
    ended: set[tuple[str, str]] = set()
    for block, queue, job_ids in _by_block(rows):
        if queue is None:
            continue
        try:
            statuses = queue.statuses(job_ids)
        except tej.Error as error:
            run_logger().warning(
                "Jobs at block %r could not be checked: %s", block, error
            )
            continue
        ended |= {
            (block, job_id)
            for job_id, status in statuses.items()
            if status is None or status.state.final
        }
    return ended


def _by_block(
    rows: Iterable[Row],
) -> Iterator[tuple[str, tej.RemoteQueue | None, list[str]]]:
    """Yield the name of each block, its queue, and the ids of its jobs.

    The queue is None if the block cannot be used, for example because it was deleted.
    The reason is logged only once, because `reconcile` is called every minute.
    """
    jobs: dict[str, dict[str, None]] = {}
    for row in rows:
        block, job_id = _name(row)
        jobs.setdefault(block, {})[job_id] = None
    for block, job_ids in jobs.items():
        queue = None
        try:
            queue = load_destination(block).get_client()
            _unusable.pop(block, None)
        except (tej.Error, ValueError) as error:
            if _unusable.get(block) != str(error):
                _unusable[block] = str(error)
                run_logger().warning("Block %r cannot be used: %s", block, error)
        yield block, queue, [*job_ids]


def _name(row: Row) -> tuple[str, str]:
    return str(row.get("block")), str(row.get("job"))
