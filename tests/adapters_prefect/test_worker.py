"""The worker: flow runs as jobs over a real sshd, with workers that may die."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID, uuid4

import pytest
from jobs import Gate
from prefect import bundles, flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun, FlowRunPolicy, State, Worker
from prefect.context import serialize_context
from prefect.deployments import run_deployment
from prefect.logging.loggers import flow_run_logger
from prefect.settings import PREFECT_API_KEY, temporary_settings
from prefect.states import (
    AwaitingRetry,
    Cancelling,
    Paused,
    Pending,
    Running,
    Scheduled,
)
from servers.sshd import free_port

import tej
from tej_prefect import TejDestination, TejJob, TejStorage, TejWorker, tej_flow
from tej_prefect.bundles import UNPACKS_FILES, add_bundle
from tej_prefect.events import emit_end
from tej_prefect.job_follower import JobFollower
from tej_prefect.job_result import JobRecord
from tej_prefect.old_jobs import delete_old_jobs
from tej_prefect.worker_configuration import TejWorkerConfiguration
from tej_prefect.worker_job import (
    end_earlier_jobs,
    is_superseded,
    newest_job,
    related_to,
    submit,
)
from tej_prefect.worker_takeover import WORKER_NAME_LABEL, names_of_live
from tests.adapters_prefect.events import automation, wait_for_events
from tests.adapters_prefect.flow_processes import (
    FLOWS,
    all_are,
    cancel,
    message_of,
    read,
    running,
    states,
    wait_until,
)
from tests.queue.conftest import watched

BIN = Path(sys.executable).parent
SECRET = "sesame-5f1c"
STAND_IN = FLOWS.with_name("stand_in.py")
POOL = "tej-test"


@dataclass
class Workers:
    """Processes that run `prefect worker start` for one work pool, and write to the
    same log."""

    api: str
    log: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> subprocess.Popen[bytes]:
        """Start a worker and wait until it is ready."""
        count = self.text().count(" started!")
        with self.log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={
                    **os.environ,
                    "PREFECT_API_URL": self.api,
                    "PREFECT_API_KEY": SECRET,
                    "PREFECT_WORKER_QUERY_SECONDS": "1",
                    "PREFECT_WORKER_HEARTBEAT_SECONDS": "2",
                    "PREFECT_RUNNER_POLL_FREQUENCY": "1",
                    "PREFECT_INTEGRATIONS_TEJ_RECONCILE_SECONDS": "1",
                },
                start_new_session=True,
            )
        self.processes.append(process)
        wait_until(lambda: self.text().count(" started!") > count, "the worker starts")
        return process

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        # After `wait`, another process may have the same pid.
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def text(self) -> str:
        return self.log.read_text() if self.log.exists() else ""


@pytest.fixture(scope="module")
def workers(
    prefect_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Workers]:
    """A work pool with a deployment of the flow `work`, and one worker."""
    template = TejWorker.get_default_base_job_template()
    with get_client(sync_client=True) as client:
        client.create_work_pool(
            WorkPoolCreate(name=POOL, type="tej", base_job_template=template)
        )
    flow.from_source(source=str(FLOWS.parent), entrypoint="flows.py:work").deploy(
        name=POOL,
        work_pool_name=POOL,
        concurrency_limit=20,
        print_next_steps=False,
        ignore_warnings=True,
        # The secrets must be removed even if the flow changes its directory.
        job_variables={"setup": f"export PATH='{BIN}':$PATH; cd /"},
    )
    made = Workers(prefect_server, tmp_path_factory.mktemp("worker") / "log")
    try:
        made.start()
        yield made
    finally:
        for process in made.processes:
            made.stop(process)


@dataclass
class Pool:
    """The work pool, with a separate queue for each test."""

    workers: Workers
    destination: TejDestination
    block: str
    queue: tej.RemoteQueue

    def run(
        self, parameters: dict[str, str] | None = None, **variables: object
    ) -> UUID:
        """Schedule a flow run; return its id."""
        found = run_deployment(
            f"work/{POOL}",
            parameters=parameters or {"gate": ""},
            job_variables={"destination": self.block, **variables},
            timeout=0,
        )
        assert isinstance(found, FlowRun)
        return found.id

    def orphan(self) -> FlowRun:
        """Create a flow run that is not due yet, with the label of a dead worker."""
        tomorrow = datetime.now(timezone.utc) + timedelta(days=1)
        with get_client(sync_client=True) as client:
            deployment = client.read_deployment_by_name(f"work/{POOL}")
            return client.create_flow_run_from_deployment(
                deployment.id,
                parameters={"gate": ""},
                job_variables={"destination": self.block},
                state=Scheduled(scheduled_time=tomorrow),
                labels={WORKER_NAME_LABEL: "dead"},
            )

    def until(self, flow_run_id: UUID, state: str) -> None:
        """Wait until a flow run is in a given state."""
        try:
            wait_until(
                lambda: str(read(flow_run_id).state_name) == state,
                f"the flow run is {state}",
            )
        except AssertionError as error:
            found = read(flow_run_id).state
            raise AssertionError(f"{error}: {found}\n{self.workers.text()}") from None

    def output(self, job_id: str) -> str:
        """Return the output of a job."""
        return b"".join(self.queue.logs(job_id)).decode()


@pytest.fixture
def pool(
    workers: Workers, destination: TejDestination, queue: tej.RemoteQueue, unique: str
) -> Iterator[Pool]:
    destination.save(unique)
    earlier = len(workers.text())
    yield Pool(workers, destination, unique, queue)
    # pytest shows this output only if the test has failed.
    print(workers.text()[earlier:])


def lease_expiry(flow_run_id: UUID) -> str:
    """Return when the concurrency lease of a flow run expires, from the server's file."""
    state = read(flow_run_id).state
    assert state is not None
    lease = state.state_details.deployment_concurrency_lease_id
    # The second server in this process, for the tests with Slurm, uses the home
    # directory of the first server.
    homes = Path(os.environ["PREFECT_HOME"]).parent
    path = next(homes.glob(f"prefect home*/concurrency_leases/{lease}.json"))
    return str(json.loads(path.read_text())["expiration"])


def holders(folder: Path) -> list[Path]:
    """Return the files that contain the secret."""
    found = []
    for path in folder.rglob("*"):
        # Jobs and clients may remove files during the search.
        with contextlib.suppress(OSError):
            if SECRET.encode() in path.read_bytes():
                found.append(path)
    return found


def test_flow_run_is_a_job_with_private_secrets(
    pool: Pool, gate: Gate, queue_path: Path, tmp_path: Path
) -> None:
    pool.queue.setup(max_running=1)
    first = Gate(tmp_path / "first gate")
    before = TejJob(destination=pool.destination, script=first.wait).trigger()
    with watched(tmp_path / "inner"):
        inner = tej.RemoteQueue("local:", str(tmp_path / "inner"), "default")
        flow_run_id = pool.run(
            {"gate": str(gate.path), "queue": str(tmp_path / "inner")}
        )
        job_id = f"prefect-{flow_run_id}-0"
        wait_until(lambda: "queued" in states(pool.queue), "the job is submitted")
        (holder,) = holders(queue_path)
        assert holder.stat().st_mode & 0o777 == 0o600
        first.open()
        before.wait_for_completion()
        wait_until(running(inner, 3), "the jobs of the flow run")
        assert (read(flow_run_id).infrastructure_pid or "").endswith(job_id)
        assert holders(queue_path) == []
        commands = subprocess.run(["ps", "-A", "-o", "args"], capture_output=True)
        assert SECRET.encode() not in commands.stdout
        cancel(flow_run_id)
        wait_until(lambda: all_are(inner, "killed"), "the jobs of the flow are killed")
        pool.until(flow_run_id, "Cancelled")
        wait_until(lambda: "running" not in states(pool.queue), "the job has ended")
    assert SECRET not in pool.workers.text()


def test_queued_run_keeps_lease_and_can_be_cancelled(pool: Pool, gate: Gate) -> None:
    pool.queue.setup(max_running=1)
    TejJob(destination=pool.destination, script=gate.wait).trigger()
    flow_run_id = pool.run()
    wait_until(lambda: states(pool.queue) == ["queued", "running"], "the job is queued")
    wait_until(lambda: read(flow_run_id).infrastructure_pid, "the job is known")
    assert read(flow_run_id).state_type == "PENDING"
    before = lease_expiry(flow_run_id)
    wait_until(lambda: lease_expiry(flow_run_id) > before, "the lease is renewed")
    cancel(flow_run_id)
    wait_until(lambda: states(pool.queue) == ["killed", "running"], "the job is killed")
    pool.until(flow_run_id, "Cancelled")


def test_crashed_run_reports_reason_and_is_retried(pool: Pool, tmp_path: Path) -> None:
    with automation("tej.job.failed") as fired:
        flow_run_id = pool.run(
            command="echo in $PWD; exit 3",
            working_dir=str(tmp_path),
            labels={"team": "x"},
            stream_output=True,
        )
        first, second = (f"prefect-{flow_run_id}-{number}" for number in (0, 1))
        pool.until(flow_run_id, "Crashed")
        assert f"Job {first} at {pool.destination.place}" in message_of(flow_run_id)
        assert "exit code 3" in message_of(flow_run_id)
        payload = wait_for_events(first, ["started", "failed"])["failed"]
        assert (payload["exit_code"], payload["job_id"]) == (3, first)
        assert "exit code 3" in str(payload["reason"])
        wait_until(fired, "the automation is triggered")
    # The job ended before Prefect had set the flow run to Running.
    assert read(flow_run_id).run_count == 0
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(flow_run_id, Scheduled())
    wait_until(lambda: second in message_of(flow_run_id), "the retry is a new job")
    assert {job.job_id for job in pool.queue.jobs(labels={"team": "x"})} == {
        first,
        second,
    }
    assert f"{first}: in {tmp_path}" in pool.workers.text()


def test_surviving_worker_takes_over_flow_runs(pool: Pool, gate: Gate) -> None:
    survivor = pool.workers.processes[0]
    dying = pool.workers.start()
    port = free_port()
    survivor.send_signal(signal.SIGSTOP)
    try:
        completing = pool.run(
            command=f"python '{STAND_IN}' '{gate.path}'",
            tunnel_port=port,
            delete_when_done=True,
        )
        # This job is pending for Prefect, because it does not run the flow.
        crashing = pool.run(command=f"{gate.wait}; exit 4")
        pool.until(completing, "Running")
        wait_until(running(pool.queue, 2), "both jobs run")
        job_id = f"prefect-{completing}-0"
        assert f"API: http://127.0.0.1:{port}/api" in pool.output(job_id)
    finally:
        pool.workers.stop(dying)
        survivor.send_signal(signal.SIGCONT)
    # Both workers have logged the job's id.
    known = f"The flow run is job {job_id} at"
    wait_until(lambda: pool.workers.text().count(known) == 2, "the take-over")
    wait_until(
        lambda: f"Job prefect-{crashing}-0 exists already" in pool.workers.text(),
        "the take-over of the pending flow run",
    )
    assert {job.attempt for job in pool.queue.jobs()} == {1}
    gate.open()
    pool.until(completing, "Completed")
    pool.until(crashing, "Crashed")
    assert "exit code 4" in message_of(crashing)
    wait_until(lambda: states(pool.queue) == ["finished"], "the other job is deleted")


def test_many_flow_runs_start_at_once(pool: Pool, gate: Gate) -> None:
    number = 15 if os.environ.get("TEJ_THOROUGH") else 3
    # The jobs run no flow, because 15 interpreters with Prefect would take minutes.
    ids = [pool.run(command=f"{gate.wait}; exit 5") for _ in range(number)]
    wait_until(running(pool.queue, number), "all jobs run")
    deleted = ids.pop()
    with get_client(sync_client=True) as client:
        client.delete_flow_run(deleted)
    gate.open()
    for flow_run_id in ids:
        pool.until(flow_run_id, "Crashed")
        assert "exit code 5" in message_of(flow_run_id)
    assert {job.job_id for job in pool.queue.jobs()} == {
        f"prefect-{one}-0" for one in (*ids, deleted)
    }
    assert {job.attempt for job in pool.queue.jobs()} == {1}


def test_orphaned_flow_runs_get_their_ends(pool: Pool) -> None:
    # The worker died, and the jobs were killed, for example by a lack of memory.
    killed = "kill -s KILL $$"
    ends: list[tuple[State[None], str]] = [
        (Running(), "Crashed"),
        (Cancelling(), "Cancelled"),
        # The flow waited in its process, and no worker would start the flow again.
        (AwaitingRetry(), "Crashed"),
        (Paused(timeout_seconds=1000), "Crashed"),
    ]
    ids = []
    for state, _ in ends:
        flow_run = pool.orphan()
        job = TejJob(
            destination=pool.destination,
            script=killed,
            job_id=f"prefect-{flow_run.id}-0",
            labels={"prefect-flow-run": str(flow_run.id)},
        ).trigger()
        pool.queue.job(job.job_id).wait()
        with get_client(sync_client=True) as client:
            client.update_flow_run(
                flow_run.id, empirical_policy=FlowRunPolicy(retry_type="in_process")
            )
            client.set_flow_run_state(flow_run.id, state, force=True)
        ids.append(flow_run.id)
    for flow_run_id, (_, end) in zip(ids, ends, strict=True):
        pool.until(flow_run_id, end)
        # Prefect's server itself may set a flow run without infrastructure to Cancelled.
        assert end == "Cancelled" or "SIGKILL" in message_of(flow_run_id)


@pytest.mark.skipif(
    not UNPACKS_FILES, reason="this version of Prefect does not unpack included files"
)
def test_code_and_result_travel_with_job(pool: Pool, tmp_path: Path) -> None:
    destination = TejDestination.load(pool.block)
    directory = tmp_path / "stored"
    TejStorage(destination=destination, directory=str(directory)).save(pool.block)

    @tej_flow(
        POOL,
        destination=pool.block,
        python=sys.executable,
        include_files=[FLOWS.name],
    )
    @flow(result_storage=f"tej-storage/{pool.block}", persist_result=True)
    def count() -> int:
        # Only the bundle contains this file and this function.
        return Path("flows.py").read_text().count("@flow")

    assert count() == FLOWS.read_text().count("@flow")
    (job,) = pool.queue.jobs()
    assert job.succeeded
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert [path.stat().st_mode & 0o777 for path in files] == [0o600]


def test_files_are_refused_if_prefect_does_not_unpack(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tej_prefect.bundles.UNPACKS_FILES", False)
    with pytest.raises(ValueError, match="install a newer version of Prefect"):
        tej_flow("pool", include_files=["*.csv"])


def test_bundle_contains_no_settings(tmp_path: Path) -> None:
    spool, folder = tmp_path / "spool", tmp_path / "job"
    for path in (spool, folder):
        path.mkdir()
    with temporary_settings({PREFECT_API_KEY: SECRET}):
        context = bundles._serialize_bundle_object(serialize_context())
    (spool / "key").write_text(json.dumps({"context": context}))
    command = "python -m prefect.bundles.execute --key key"
    assert add_bundle(command, spool, folder) == f'{command[:-3]}"$tej_stage"/key'
    bundle = json.loads((folder / "key").read_text())
    sent = bundles._deserialize_bundle_object(bundle["context"])
    assert sent["settings_context"] == {}
    assert SECRET not in repr(sent)
    assert add_bundle("echo key", spool, folder) == "echo key"


class Attempts:
    """Attempts of one flow run, whose jobs are submitted without a worker."""

    def __init__(self, local: TejDestination) -> None:
        self.local = local
        self.queue = local.get_client()
        self.id = uuid4()

    def flow_run(
        self, state: State[None], job_id: str = "", run_count: int = 0
    ) -> FlowRun:
        return FlowRun(
            run_count=run_count,
            id=self.id,
            flow_id=self.id,
            name="test",
            state=state,
            state_type=state.type,
            state_id=state.id,
            infrastructure_pid=f"{self.local.place}:{job_id}" if job_id else None,
        )

    def submit(
        self,
        state: State[None],
        *,
        run_count: int = 0,
        wait: bool = True,
        only_find: bool = False,
        **variables: object,
    ) -> str:
        """Submit a job as a worker does, wait for its end, and return its id."""
        variables = {"destination": "x", "command": "exit 3", **variables}
        configuration = TejWorkerConfiguration(**variables)
        flow_run = self.flow_run(state, run_count=run_count)
        logger = flow_run_logger(flow_run)
        if not only_find:
            end_earlier_jobs(self.queue, flow_run, logger)
        job_id = submit(
            self.local, flow_run, configuration, logger, only_find=only_find
        )
        if wait:
            self.queue.job(job_id).wait()
        return job_id


def test_ended_job_is_replaced_only_by_retry(
    local: TejDestination, prefect_server: str
) -> None:
    runs = Attempts(local)
    queue, state, retry = runs.queue, Pending(), Pending()
    first = runs.submit(state)
    # A worker died after the submission, or the API did not reply at the job's end.
    assert runs.submit(state) == first
    end = queue.statuses([first])[first]
    for now in (state, Running()):
        assert not is_superseded(queue, runs.flow_run(now), first, end)
    # The job of the new attempt is not submitted yet.
    assert is_superseded(queue, runs.flow_run(retry, first), first, end)
    # Only the dead caller of the flow has the bundle, so no worker submits the job.
    assert runs.submit(state, only_find=True, wait=False) == first
    second = f"prefect-{runs.id}-1"
    assert runs.submit(retry, only_find=True, wait=False) == second
    assert [job.job_id for job in queue.jobs()] == [first]

    async def report_end(now: State[None]) -> int:
        configuration = TejWorkerConfiguration(destination="x")
        flow_run = runs.flow_run(now, first)
        follower = JobFollower(
            TejWorker(work_pool_name=POOL), flow_run, configuration, local, first
        )
        return await follower.report_end(flow_run, end, "exit code 3")

    assert asyncio.run(report_end(Scheduled())) == 0
    # Two workers that have both taken over the flow run report the same end.
    for _ in range(2):
        record = JobRecord(local, first, "test")
        emit_end(record, end, runs.id, related_to(runs.flow_run(state)))
    wait_for_events(first, ["started", "failed"])
    assert first == f"prefect-{runs.id}-0"
    assert runs.submit(retry) == second
    # A worker died before it stored the id of the second job.
    running = runs.flow_run(Running(), first)
    with TemporaryDirectory() as folder:
        (Path(folder) / "start.sh").write_text("exit 0")
        # A flow's own jobs have the same label.
        queue.submit("own", folder, labels={"prefect-flow-run": str(runs.id)})
    assert newest_job(queue, running) == second
    assert is_superseded(queue, running, first, end)
    assert not is_superseded(queue, running, second, None)
    queue.job("own").wait()


def test_retry_ends_job_of_earlier_attempt(
    local: TejDestination,
    prefect_server: str,
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A user set the flow run to Crashed and retried it, but its job still runs.
    runs = Attempts(local)
    monkeypatch.setattr("tej_prefect.worker_job.CANCEL_GRACE", 0)
    first = runs.submit(Pending(), command=gate.wait, wait=False)
    own = TejJob(
        destination=local,
        script=gate.wait,
        labels={"prefect-flow-run": str(runs.id)},
    ).trigger()
    # A worker without the bundle of the flow waits for the earlier job.
    found = runs.submit(Pending(), run_count=1, only_find=True, wait=False)
    assert found == first
    second = runs.submit(Pending(), run_count=1)
    assert (first, second) == (f"prefect-{runs.id}-0", f"prefect-{runs.id}-1")
    statuses = runs.queue.statuses([first, second, own.job_id])
    states = [str(one and one.state) for one in statuses.values()]
    assert states == ["killed", "finished", "running"]
    gate.open()
    own.job.wait()


def test_only_callers_make_directory_for_bundles(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def spool(*, is_service: bool) -> Path | None:
        worker = TejWorker(work_pool_name=POOL)
        worker._is_service = is_service
        async with worker:
            return worker._spool

    async def nothing(_: TejWorker) -> None: ...

    monkeypatch.setattr(TejWorker, "_repeat_steps", nothing)
    # A killed service cannot remove a directory.
    assert asyncio.run(spool(is_service=True)) is None
    assert asyncio.run(spool(is_service=False)) is not None


def test_old_jobs_of_ended_runs_are_deleted(
    local: TejDestination, prefect_server: str
) -> None:
    unended, new, kept, old = (Attempts(local) for _ in range(4))
    for runs, days in ((unended, 0), (new, 1), (kept, None), (old, 0)):
        runs.submit(Pending(), delete_after=days)
    wanted = {str(runs.id) for runs in (unended, new, kept)}

    def is_deleted() -> bool:
        # A job is not deleted while its last process ends.
        delete_old_jobs(old.queue, {str(unended.id)})
        return {job.labels["prefect-flow-run"] for job in old.queue.jobs()} == wanted

    wait_until(is_deleted, "only the old job is deleted")


def test_worker_with_missed_heartbeats_is_dead() -> None:
    now = datetime(2026, 1, 1, tzinfo=timezone.utc)
    ages = {"mine": 0, "late": 89, "dead": 90, "new": None}
    workers = [
        Worker.model_construct(
            name=name,
            last_heartbeat_time=None if age is None else now - timedelta(seconds=age),
            heartbeat_interval_seconds=30,
        )
        for name, age in ages.items()
    ]
    assert names_of_live(workers) == {"mine", "late"}


@pytest.mark.parametrize("name", ["plain", "with 'quote"])
def test_working_dir_may_be_below_home(
    name: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / name).mkdir()
    configuration = TejWorkerConfiguration(
        destination="x", command="pwd", working_dir=f"~/{name}", env={"WORD": "a b"}
    )
    with configuration.directory() as directory:
        done = subprocess.run(
            ["sh", "start.sh"], cwd=directory, capture_output=True, text=True
        )
        assert not (directory / "environment").exists()
    assert done.stdout == f"{home / name}\n", done.stderr
