"""Suspended flow runs, whose jobs run while no process waits for them."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from jobs import Gate
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import Artifact, FlowRun
from prefect.flow_engine import run_flow
from prefect.states import Cancelled, Pending, Suspended

import tej
from tej_prefect import (
    TejDestination,
    TejJob,
    kill_jobs_on_cancellation,
    suspend,
    suspend_until_done,
    tej_resumer,
)
from tej_prefect.flow_run_cancellation import KillCounts
from tests.adapters_prefect import flows
from tests.adapters_prefect.flow_processes import (
    all_are,
    cancel,
    read,
    running,
    states,
    wait_until,
)


@pytest.fixture(scope="module")
def deployment(prefect_server: str) -> UUID:
    """Create a deployment of the flow `study`: only deployments can be suspended."""
    made = flows.study.to_deployment(name="test").apply()
    assert isinstance(made, UUID)
    return made


def new_run(deployment: UUID, local: TejDestination, gate: Gate) -> FlowRun:
    parameters = {
        "queue": local.queue,
        "gate": str(gate.path),
        "block": local._block_document_name,
    }
    with get_client(sync_client=True) as client:
        return client.create_flow_run_from_deployment(
            deployment, parameters=parameters, state=Pending()
        )


def execute(flow_run_id: UUID) -> str:
    """Run a flow run until it ends or is suspended; return the name of its state."""
    run = read(flow_run_id)
    try:
        run_flow(flows.study, flow_run=run, parameters=run.parameters)
    except BaseException as error:
        # The exception that suspends a flow run is not derived from `Exception`.
        if isinstance(error, Exception):
            raise
    return str(read(flow_run_id).state_name)


def test_suspended_run_resumes_when_jobs_end(
    deployment: UUID,
    local: TejDestination,
    queue: tej.RemoteQueue,
    gate: Gate,
    unique: str,
) -> None:
    local.save(unique)
    study, cancelled = (new_run(deployment, local, gate) for _ in range(2))
    for run in (study, cancelled):
        assert execute(run.id) == "Suspended"
    wait_until(running(queue, 2), "both jobs run, each once")
    # No job has ended, so no flow run is resumed.
    suspend.reconcile()
    assert read(study.id).state_name == "Suspended"
    # Another flow run waits for the jobs, so the cancellation does not kill them.
    cancel(cancelled.id)
    assert read(cancelled.id).state_type == "CANCELLED"
    suspend.reconcile()
    assert all_are(queue, "running")
    gate.open()
    wait_until(lambda: all_are(queue, "finished"), "the jobs have ended")
    tej_resumer()
    assert read(study.id).state_type == "SCHEDULED"
    assert execute(study.id) == "Completed"
    assert not [*Path(local.queue).glob(f"claims/suspended-{study.id}")]
    assert [job.attempt for job in queue.jobs()] == [1, 1]


def test_jobs_of_cancelled_suspended_run_are_killed(
    deployment: UUID,
    local: TejDestination,
    queue: tej.RemoteQueue,
    gate: Gate,
    unique: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    local.save(unique)
    study, hooked = (new_run(deployment, local, gate) for _ in range(2))
    assert execute(study.id) == "Suspended"
    cancel(study.id)
    # The kill is repeated if Prefect's API did not reply when the claims were checked.
    other = Path(local.queue, "claims/other")
    other.write_text(json.dumps({"flow_runs": [str(uuid4())], "jobs": ["other"]}))
    with monkeypatch.context() as patch:
        patch.setattr("tej_prefect.claims.get_client", lambda **_: 1 / 0)
        suspend.reconcile()
        wait_until(running(queue, 2), "no job is killed")
    suspend.reconcile()
    assert states(queue) == ["killed", "killed"]
    other.unlink()
    # A process that is started later does not kill the jobs that a user starts again.
    for number in range(2):
        job = flows.waiting(local.queue, str(gate.path), number)
        job.model_copy(update={"retry_failed": True}).trigger()
    suspend._killed.clear()
    suspend.reconcile()
    wait_until(running(queue, 2), "no job is killed")
    queue.kill_many(job.job_id for job in queue.jobs())
    # The hook of a flow needs only the flow run's id and the stored block.
    assert execute(hooked.id) == "Suspended"
    wait_until(running(queue, 2), "the next flow run starts the jobs again")
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(hooked.id)
    kill_jobs_on_cancellation(flow=flows.study, flow_run=run, state=run.state)
    assert states(queue) == ["killed", "killed"]
    # A missing queue may be in a file system that is not mounted: nothing is resumed.
    queue.cleanup()
    suspend.reconcile()
    assert read(hooked.id).state_name == "Suspended"
    cancel(hooked.id)


def test_kill_of_cancelled_run_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(timezone.utc)
    cancelled = {"new": now, "old": now - suspend.RECENT - timedelta(minutes=1)}
    runs = {
        name: FlowRun(
            id=uuid4(), flow_id=uuid4(), state=Cancelled(), name=name
        ).model_copy(update={"state": Cancelled(timestamp=time)})
        for name, time in cancelled.items()
    }
    names = {run.id: name for name, run in runs.items()}
    table = Artifact(data="[]")
    complete = iter([False, True])
    killed: list[str] = []

    def kill(flow_run_id: UUID, *_: object, **__: object) -> KillCounts:
        killed.append(names[flow_run_id])
        return KillCounts(is_complete=next(complete))

    monkeypatch.setattr(
        suspend, "_awaited", lambda _: [(run, table) for run in runs.values()]
    )
    monkeypatch.setattr(suspend, "_kill_rows", kill)
    # The first attempt does not reach the server, the second does.
    for _ in range(3):
        suspend._kill_cancelled()
    assert killed == ["new", "new"]


def test_refused_resume_stops_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    refused, other = (
        FlowRun(id=uuid4(), flow_id=uuid4(), name=name, state=Suspended())
        for name in ("refused", "other")
    )
    resumed: list[UUID] = []

    def resume(flow_run_id: UUID) -> None:
        if flow_run_id == refused.id:
            raise RuntimeError("Cannot resume this run")
        resumed.append(flow_run_id)

    table = Artifact(data="[]")
    monkeypatch.setattr(
        suspend, "_awaited", lambda _: [(refused, table), (other, table)]
    )
    monkeypatch.setattr(suspend, "resume_flow_run", resume)
    suspend._resume_done()
    assert resumed == [other.id]
    assert "'refused' could not be resumed: Cannot resume this run" in caplog.text


def test_suspending_needs_a_stored_destination(
    prefect_server: str, local: TejDestination
) -> None:
    @flow
    def suspending() -> None:
        suspend_until_done(TejJob(destination=local, script="exit 0").trigger())

    with pytest.raises(ValueError, match=r"TejDestination\(...\).save"):
        suspending()
