"""The worker: flow runs as jobs over a real sshd, by real workers that may die."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest
from jobs import Gate, wait_until
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.states import Scheduled
from servers.sshd import free_port

import tej
from tej_prefect import TejDestination, TejJob, TejWorker
from tests.adapters_prefect.processes import FLOWS, SOON, cancel, read, states

BIN = Path(sys.executable).parent
SECRET = "sesame-5f1c"


class Worker:
    """`prefect worker start` in a process of its own."""

    def __init__(self, pool: str, api: str, log: Path) -> None:
        self.log = log
        with log.open("ab") as output:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={
                    **os.environ,
                    "PREFECT_API_URL": api,
                    "PREFECT_API_KEY": SECRET,
                    "PREFECT_WORKER_QUERY_SECONDS": "1",
                    "PREFECT_WORKER_HEARTBEAT_SECONDS": "2",
                    "PREFECT_INTEGRATIONS_TEJ_RECONCILE_SECONDS": "1",
                },
                start_new_session=True,
            )

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()


class Pool:
    """A work pool, a deployment in it, and its workers."""

    def __init__(
        self,
        name: str,
        api: str,
        log: Path,
        queue: tej.RemoteQueue,
        destination: TejDestination,
    ) -> None:
        self.name, self.api, self.log, self.queue = name, api, log, queue
        self.destination = destination
        self.workers: list[Worker] = []

    def start(self) -> Worker:
        worker = Worker(self.name, self.api, self.log)
        self.workers.append(worker)
        return worker

    def run(self, **parameters: object) -> UUID:
        found = run_deployment(f"work/{self.name}", parameters=parameters, timeout=0)
        assert isinstance(found, FlowRun)
        return found.id

    def until(self, flow_run_id: UUID, state: str) -> FlowRun:
        def look() -> bool:
            return str(read(flow_run_id).state_name) == state

        try:
            wait_until(look, f"the flow run is {state}")
        except AssertionError as error:
            found = read(flow_run_id).state
            raise AssertionError(f"{error}: {found}\n{self.log.read_text()}") from None
        return read(flow_run_id)


@contextlib.contextmanager
def made_pool(
    destination: TejDestination,
    queue: tej.RemoteQueue,
    api: str,
    name: str,
    folder: Path,
    **variables: object,
) -> Iterator[Pool]:
    """A work pool of that name, for jobs at a destination."""
    destination.save(name)
    template = TejWorker.get_default_base_job_template()
    with get_client(sync_client=True) as client:
        client.create_work_pool(
            WorkPoolCreate(name=name, type="tej", base_job_template=template)
        )
    flow.from_source(source=str(FLOWS.parent), entrypoint="flows.py:work").deploy(
        name=name,
        work_pool_name=name,
        concurrency_limit=9,
        print_next_steps=False,
        ignore_warnings=True,
        job_variables={
            "destination": name,
            # What leads to another directory takes no secrets there or back.
            "setup": f"export PATH='{BIN}':$PATH; cd /",
            **variables,
        },
    )
    made = Pool(name, api, folder / "worker.log", queue, destination)
    try:
        yield made
    finally:
        for worker in made.workers:
            worker.stop()


@pytest.fixture
def pool(
    prefect_server: str,
    destination: TejDestination,
    queue: tej.RemoteQueue,
    tmp_path: Path,
    unique: str,
) -> Iterator[Pool]:
    with made_pool(destination, queue, prefect_server, unique, tmp_path) as made:
        yield made


def begun(queue: tej.RemoteQueue, number: int = 1) -> Callable[[], bool]:
    """Whether so many jobs have said that they are at work."""

    def look() -> bool:
        found = [b"".join(queue.logs(job.job_id)) for job in queue.jobs()]
        return sum(b"at work" in output for output in found) == number

    return look


def text_of(queue: tej.RemoteQueue, job_id: str) -> str:
    """What a job has printed."""
    return b"".join(queue.logs(job_id)).decode()


def lease_expiry(flow_run_id: UUID) -> str:
    """When the concurrency lease of a flow run expires, as Prefect's server stores it."""
    state = read(flow_run_id).state
    assert state is not None
    lease = state.state_details.deployment_concurrency_lease_id
    path = Path(os.environ["PREFECT_HOME"], "concurrency_leases", f"{lease}.json")
    return str(json.loads(path.read_text())["expiration"])


def holders(folder: Path) -> list[Path]:
    """The files that have the secret in them."""
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and SECRET.encode() in path.read_bytes()
    ]


def test_flow_run_is_a_job_with_private_secrets(
    pool: Pool, gate: Gate, queue_path: Path, tmp_path: Path
) -> None:
    first = Gate(tmp_path / "first gate")
    pool.queue.setup(max_running=1)
    before = TejJob(destination=pool.destination, script=first.wait).trigger()
    pool.start()
    flow_run_id = pool.run(gate=str(gate.path))
    job_id = f"prefect-{flow_run_id}-0"
    wait_until(lambda: "queued" in states(pool.queue), "it is submitted")
    (holder,) = holders(queue_path)
    assert holder.stat().st_mode & 0o777 == 0o600
    first.open()
    before.wait_for_completion()
    pool.until(flow_run_id, "Running")
    wait_until(lambda: "at work" in text_of(pool.queue, job_id), "it is at work")
    assert (read(flow_run_id).infrastructure_pid or "").endswith(job_id)
    assert holders(queue_path) == []
    commands = subprocess.run(["ps", "-A", "-o", "args"], capture_output=True).stdout
    assert SECRET.encode() not in commands
    gate.open()
    pool.until(flow_run_id, "Completed")
    wait_until(lambda: set(states(pool.queue)) == {"finished"}, "the job has ended")
    assert SECRET not in pool.log.read_text()


def test_dead_run_crashes_and_cancelled_run_is_killed(pool: Pool, gate: Gate) -> None:
    pool.start()
    crashing = pool.run(crash=True)
    doomed = pool.run(gate=str(gate.path))
    state = pool.until(crashing, "Crashed").state
    assert state is not None
    assert "exit code" in str(state.message)
    assert f"prefect-{crashing}-0 at {pool.destination.place}" in str(state.message)
    pool.until(doomed, "Running")
    cancel(doomed)
    pool.until(doomed, "Cancelled")
    wait_until(
        lambda: not {"running", "queued"} & set(states(pool.queue)), "the jobs are over"
    )


def test_queued_run_keeps_lease_and_can_be_cancelled(pool: Pool, gate: Gate) -> None:
    pool.queue.setup(max_running=1)
    pool.start()
    running = pool.run(gate=str(gate.path))
    pool.until(running, "Running")
    queued = pool.run()
    wait_until(lambda: sorted(states(pool.queue)) == ["queued", "running"], "queued")
    wait_until(lambda: read(queued).infrastructure_pid, "its job is known")
    assert read(queued).state_type == "PENDING"
    before = lease_expiry(queued)
    wait_until(lambda: lease_expiry(queued) > before, "the worker renews the lease")
    cancel(queued)
    wait_until(
        lambda: sorted(states(pool.queue)) == ["killed", "running"], "killed", SOON
    )
    pool.until(queued, "Cancelled")
    gate.open()
    pool.until(running, "Completed")


def test_surviving_worker_takes_over_flow_runs(pool: Pool, gate: Gate) -> None:
    first, survivor = pool.start(), pool.start()
    wait_until(lambda: pool.log.read_text().count(" started!") == 2, "both workers run")
    # Stopped, so that the flow runs are the first worker's.
    survivor.popen.send_signal(signal.SIGSTOP)
    completing = pool.run(gate=str(gate.path))
    crashing = pool.run(gate=str(gate.path), crash=True)
    for flow_run_id in (completing, crashing):
        pool.until(flow_run_id, "Running")
    wait_until(begun(pool.queue, 2), "both are at work")
    survivor.popen.send_signal(signal.SIGCONT)
    first.stop()
    wait_until(
        lambda: pool.log.read_text().count("takes over job") == 2, "it takes over"
    )
    gate.open()
    pool.until(completing, "Completed")
    # Only a worker can find that the process died.
    pool.until(crashing, "Crashed")
    assert len(pool.queue.jobs()) == 2
    assert {job.attempt for job in pool.queue.jobs()} == {1}


def test_run_without_prefect_can_be_retried(
    prefect_server: str,
    destination: TejDestination,
    queue: tej.RemoteQueue,
    tmp_path: Path,
    unique: str,
) -> None:
    fixed = tmp_path / "fixed"
    with made_pool(
        destination,
        queue,
        prefect_server,
        unique,
        tmp_path,
        setup=f"[ -e '{fixed}' ] || exit 3; export PATH='{BIN}':$PATH",
    ) as pool:
        pool.start()
        flow_run_id = pool.run()
        state = pool.until(flow_run_id, "Crashed").state
        assert state is not None
        assert "exit code 3" in str(state.message)
        fixed.touch()
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(flow_run_id, Scheduled())
        pool.until(flow_run_id, "Completed")
        assert sorted(job.job_id for job in queue.jobs()) == [
            f"prefect-{flow_run_id}-{number}" for number in (0, 1)
        ]


def test_tunnel_survives_a_restarted_worker(
    prefect_server: str,
    destination: TejDestination,
    queue: tej.RemoteQueue,
    tmp_path: Path,
    unique: str,
    gate: Gate,
) -> None:
    port = free_port()
    with made_pool(
        destination, queue, prefect_server, unique, tmp_path, tunnel_port=port
    ) as pool:
        first = pool.start()
        flow_run_id = pool.run(gate=str(gate.path))
        pool.until(flow_run_id, "Running")
        wait_until(begun(queue), "the flow is at work")
        (job,) = queue.jobs()
        wait_until(
            lambda: f"API: http://127.0.0.1:{port}/api" in text_of(queue, job.job_id),
            "it uses the tunnel",
        )
        first.stop()
        pool.start()
        wait_until(lambda: "takes over job" in pool.log.read_text(), "it is found")
        gate.open()
        pool.until(flow_run_id, "Completed")
