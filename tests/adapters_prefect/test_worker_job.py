"""Decisions of the worker: what it takes over, kills and waits for, at which time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn
from uuid import UUID, uuid4

import anyio
import httpx
import pytest
from clocks import SimulatedTime
from jobs import Gate, wait_until
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import (
    FlowRun,
    FlowRunPolicy,
    State,
    WorkPool,
    WorkPoolStorageConfiguration,
)
from prefect.exceptions import (
    InfrastructureNotAvailable,
    InfrastructureNotFound,
    ObjectNotFound,
)
from prefect.states import (
    AwaitingRetry,
    Cancelled,
    Cancelling,
    Completed,
    Crashed,
    Paused,
    Pending,
    Running,
    Scheduled,
    Suspended,
)

import tej
from tej_prefect import (
    TejDestination,
    TejJob,
    TejWorker,
    job_follower,
    worker,
    worker_job,
)
from tej_prefect.bundles import EXECUTE, lacks_bundle
from tej_prefect.job_follower import JobFollower
from tej_prefect.worker_configuration import TejWorkerConfiguration
from tej_prefect.worker_job import needs_process
from tej_prefect.worker_takeover import OrphanFinder
from tests.adapters_prefect.flow_processes import flow_run_in

pytestmark = pytest.mark.usefixtures("prefect_server")


def flow_run(state: State[None], **fields: Any) -> FlowRun:
    return FlowRun(
        id=uuid4(),
        flow_id=uuid4(),
        name="test",
        state=state,
        state_type=state.type,
        **fields,
    )


@pytest.mark.parametrize(
    ("state", "retry_type", "expected"),
    [
        (Running(), None, True),
        (AwaitingRetry(), "in_process", True),
        (AwaitingRetry(), "reschedule", False),
        (Scheduled(), None, False),
        (Paused(), None, True),
        (Suspended(), None, False),
        (Completed(), "in_process", False),
    ],
)
def test_states_that_need_their_process(
    state: State[None], retry_type: str | None, expected: bool
) -> None:
    policy = FlowRunPolicy.model_validate({"retry_type": retry_type})
    assert needs_process(flow_run(state, empirical_policy=policy)) == expected


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimulatedTime:
    time = SimulatedTime(1000.0)
    monkeypatch.setattr(job_follower, "time", time)
    return time


class Client:
    """Replies of Prefect's API; an exception is raised."""

    def __init__(self, *replies: object) -> None:
        self.replies = [*replies]

    async def read_flow_run(self, _: UUID) -> object:
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def update_flow_run(self, *_: object, **__: object) -> None: ...

    async def update_flow_run_labels(self, *_: object) -> None: ...

    async def read_deployment(self, _: UUID) -> None:
        raise ObjectNotFound(RuntimeError("The deployment was deleted"))

    async def read_workers_for_work_pool(self, *_: object) -> list[object]:
        return []


Use = Callable[[TejWorker], Awaitable[Any]]


@pytest.fixture
def in_worker(monkeypatch: pytest.MonkeyPatch) -> Callable[[Client, Use], Any]:
    """Return a function that calls a function with a worker, in an event loop."""

    def call(client: Client, use: Use) -> Any:
        async def go() -> Any:
            return await use(TejWorker(work_pool_name="pool", name="mine"))

        monkeypatch.setattr(TejWorker, "client", client)
        return asyncio.run(go())

    return call


InWorker = Callable[[Client, Use], Any]


def follow(
    made: TejWorker, one: FlowRun, job: tej.Job, at: TejDestination
) -> JobFollower:
    configuration = TejWorkerConfiguration(destination="x")
    return JobFollower(made, one, configuration, at, job.id)


@pytest.fixture
def wait(
    in_worker: InWorker, local: TejDestination
) -> Callable[[tej.Job, FlowRun], tej.JobStatus | None]:
    """Return a function that waits for a job as a worker does."""

    def call(job: tej.Job, one: FlowRun) -> Any:
        async def use(made: TejWorker) -> tej.JobStatus | None:
            return follow(made, one, job, local).wait()

        return in_worker(Client(), use)

    return call


Wait = Callable[[tej.Job, FlowRun], tej.JobStatus | None]


@pytest.mark.parametrize(
    ("is_queued", "states"),
    [(False, ["running", "running", "killed"]), (True, ["killed"])],
)
def test_cancelled_flow_has_time_to_end_itself(
    local: TejDestination,
    gate: Gate,
    clock: SimulatedTime,
    wait: Wait,
    monkeypatch: pytest.MonkeyPatch,
    is_queued: bool,
    states: list[str],
) -> None:
    queue = local.get_client()
    queue.setup(max_running=1)
    script = f"trap '' TERM; {gate.wait}"
    runs = [
        TejJob(destination=local, script=script, environment={"N": str(n)}).trigger()
        for n in range(1 + is_queued)
    ]
    job = queue.job(runs[-1].job_id)
    begin = "queued" if is_queued else "running"
    wait_until(lambda: job.status().state == begin, f"the job is {begin}")
    found: list[str] = []

    def ticks(
        ids: list[str], on_tick: Callable[[], None]
    ) -> Iterator[tuple[tej.Job, tej.JobStatus]]:
        for seconds in (0, job_follower.CANCEL_GRACE - 1, 1)[: len(states)]:
            clock.now += seconds
            on_tick()
            found.append(str(job.status().state))
        yield job, job.status()

    monkeypatch.setattr(queue, "as_completed", ticks)
    monkeypatch.setattr(job_follower.poller, "is_cancelled", lambda _: True)
    monkeypatch.setattr(queue, "kill_many", lambda ids: kill_many(ids, grace=0))
    kill_many = tej.RemoteQueue.kill_many.__get__(queue)
    status = wait(job, flow_run(Cancelling()))
    assert status is not None
    assert found == states
    gate.open()


def test_missing_queue_is_awaited_for_minutes(
    local: TejDestination,
    clock: SimulatedTime,
    wait: Wait,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert job_follower.MISSING_TIMEOUT >= 600
    retry = job_follower.RETRY
    monkeypatch.setattr(job_follower, "MISSING_TIMEOUT", 4 * retry)
    begun = clock.now
    # The file system of the queue is not mounted.
    assert wait(local.get_client().job("a"), flow_run(Running())) is None
    waited = clock.now - begun
    assert 0 <= waited - job_follower.MISSING_TIMEOUT <= 2 * retry
    # A link to a queue is never made before the queue, so the job may be running.
    Path(local.queue).write_text("tejdir: /no/such/queue\n")
    with pytest.raises(tej.QueueLinkBroken):
        wait(local.get_client().job("a"), flow_run(Running()))


def test_broken_link_does_not_mean_no_job(local: TejDestination) -> None:
    queue, one = local.get_client(), flow_run(Running(), infrastructure_pid="x:a")
    assert worker_job.newest_job(queue, one) == "a"
    assert worker_job._status(queue, "a") is None
    Path(local.queue).write_text("tejdir: /no/such/queue\n")
    for ask in (
        lambda: worker_job.newest_job(queue, one),
        lambda: worker_job._status(queue, "a"),
    ):
        with pytest.raises(tej.QueueLinkBroken):
            ask()


def test_wait_that_has_tried_for_minutes_is_not_repeated(
    local: TejDestination,
    clock: SimulatedTime,
    wait: Wait,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queue = local.get_client()
    attempts: list[float] = []

    def as_completed(ids: list[str], on_tick: object) -> NoReturn:
        assert not attempts
        clock.now += 1e6
        attempts.append(clock.now)
        error = tej.QueueNotFound("The queue was removed")
        error.waited = job_follower.MISSING_TIMEOUT + 1
        raise error

    monkeypatch.setattr(queue, "as_completed", as_completed)
    assert wait(queue.job("a"), flow_run(Running())) is None


@pytest.mark.parametrize("is_lost", [False, True])
def test_each_absence_of_queue_has_its_own_patience(
    local: TejDestination,
    clock: SimulatedTime,
    wait: Wait,
    monkeypatch: pytest.MonkeyPatch,
    is_lost: bool,
) -> None:
    queue = local.get_client()
    job = queue.job(TejJob(destination=local, script="exit 0").trigger().job_id)
    missing = tej.QueueNotFound("The file system is not mounted")
    lost = tej.ConnectionFailed("The connection is lost")
    hours = 10 * job_follower.MISSING_TIMEOUT
    # Hours after the first absence, the queue is absent again for a moment.
    attempts = [(0.0, missing), (hours, lost if is_lost else missing), (0.0, missing)]

    def as_completed(
        ids: list[str], on_tick: object
    ) -> Iterator[tuple[tej.Job, tej.JobStatus]]:
        if attempts:
            seconds, error = attempts.pop(0)
            clock.now += seconds
            raise error
        yield job, job.wait()

    monkeypatch.setattr(queue, "as_completed", as_completed)
    status = wait(job, flow_run(Running()))
    assert status is not None
    assert status.succeeded


def test_end_is_reported_when_api_is_back(
    in_worker: InWorker, local: TejDestination, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_follower, "RETRY", 0)
    one, job = flow_run(Running()), local.get_client().job("a")
    client = Client(*(httpx.ConnectError("down") for _ in range(3)), one)

    def read(made: TejWorker) -> Awaitable[FlowRun | None]:
        return follow(made, one, job, local).read_flow_run()

    assert in_worker(client, read) is one


def test_end_is_reported_when_server_is_back(
    in_worker: InWorker,
    local: TejDestination,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    one = flow_run(Running())
    run = TejJob(destination=local, script="exit 3").trigger()
    replies: list[Exception | bool] = [
        tej.ConnectionFailed("lost"),
        tej.QueueLinkBroken("not mounted"),
        *(tej.RemoteCommandFailure("missing now", ret=10) for _ in range(9)),
        tej.QueueNotTrusted("changed"),
        True,
    ]

    def is_superseded(*_: object) -> bool:
        reply = replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply

    monkeypatch.setattr(job_follower, "RETRY", 0)
    monkeypatch.setattr(job_follower, "is_superseded", is_superseded)

    def end(made: TejWorker) -> Awaitable[int]:
        return follow(made, one, run.job, local).follow()

    assert in_worker(Client(*[one] * len(replies)), end) == 0
    assert replies == []
    assert caplog.text.count("missing now; trying again") == 1


def test_cancellation_ends_the_report_of_a_job_end(
    in_worker: InWorker, local: TejDestination, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user can end a flow run although its queue cannot be read any more."""
    run = TejJob(destination=local, script="exit 3").trigger()

    def is_superseded(*_: object) -> NoReturn:
        raise tej.RemoteCommandFailure("The disk is broken", ret=10)

    monkeypatch.setattr(job_follower, "RETRY", 0)
    monkeypatch.setattr(job_follower, "is_superseded", is_superseded)

    def end(made: TejWorker) -> Awaitable[int]:
        return follow(made, flow_run(Running()), run.job, local).follow()

    client = Client(flow_run(Running()), flow_run(Cancelled()))
    assert in_worker(client, end) == 0
    assert client.replies == []


def test_failed_deletion_of_job_is_no_lost_flow_run(
    in_worker: InWorker,
    local: TejDestination,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    one = flow_run(Completed())
    run = TejJob(destination=local, script="exit 0").trigger()

    def delete(_: object) -> None:
        raise tej.ConnectionFailed("lost")

    monkeypatch.setattr(local.get_client(), "delete_many", delete)

    def end(made: TejWorker) -> Awaitable[int]:
        follower = follow(made, one, run.job, local)
        follower._configuration.delete_when_done = True
        return follower.follow()

    assert in_worker(Client(one), end) == 0
    assert "was not deleted: lost" in caplog.text


def test_submission_to_unreachable_server_can_be_cancelled(
    in_worker: InWorker, local: TejDestination, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_job, "RETRY", 0)

    def fail(*_: object, **__: object) -> str:
        raise tej.ConnectionFailed("The reply is lost")

    def fail_once(*_: object) -> str:
        monkeypatch.setattr(worker_job, "newest_job", newest_job)
        return fail()

    newest_job = worker_job.newest_job
    monkeypatch.setattr(TejWorker, "work_pool", None)
    monkeypatch.setattr(worker_job, "submit", fail)
    monkeypatch.setattr(worker_job, "newest_job", fail_once)
    pending, cancelling = flow_run(Pending()), flow_run(Cancelling())

    def submit(*replies: FlowRun) -> Any:
        configuration = TejWorkerConfiguration(destination="x")
        return in_worker(
            Client(*replies),
            lambda made: worker_job.start_or_find(made, pending, configuration, local),
        )

    # The job may have started, so the worker finds its id to kill it.
    job_id = f"prefect-{cancelling.id}-0"
    assert submit(pending, cancelling, cancelling) == job_id
    monkeypatch.setattr(worker_job, "newest_job", fail_once)
    monkeypatch.setattr(worker_job, "SUBMIT_TIMEOUT", -1)
    assert submit(cancelling, cancelling) == job_id
    with pytest.raises(tej.ConnectionFailed):
        submit(pending)


def test_login_is_repeated_after_an_earlier_login(
    in_worker: InWorker, local: TejDestination, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is restarting, and its home directories are not mounted yet."""
    monkeypatch.setattr(worker_job, "RETRY", 0)
    monkeypatch.setattr(TejWorker, "work_pool", None)
    monkeypatch.setattr(worker_job, "end_earlier_jobs", lambda *_: False)
    pending = flow_run(Pending())
    error = tej.AuthenticationFailed("refused")
    error.sent_secret = False

    def fail_once(*_: object, **__: object) -> str:
        monkeypatch.setattr(worker_job, "submit", lambda *_, **__: "job")
        raise error

    def submit(*, reached: bool) -> Any:
        monkeypatch.setattr(worker_job, "submit", fail_once)
        local.get_client().connection.reached = reached
        configuration = TejWorkerConfiguration(destination="x")
        return in_worker(
            Client(pending, pending),
            lambda made: worker_job.start_or_find(made, pending, configuration, local),
        )

    assert submit(reached=True) == "job"
    with pytest.raises(tej.AuthenticationFailed):
        submit(reached=False)
    error.sent_secret = True
    with pytest.raises(tej.AuthenticationFailed):
        submit(reached=True)


@pytest.mark.parametrize("state", [Running(), Cancelling(), Crashed(), Scheduled()])
def test_only_pending_flow_run_starts_job(
    in_worker: InWorker,
    local: TejDestination,
    monkeypatch: pytest.MonkeyPatch,
    state: State[None],
) -> None:
    # Another worker has continued the flow run since this worker read it.
    before, now = flow_run(Pending()), flow_run(state)
    monkeypatch.setattr(worker_job, "submit", None)
    configuration = TejWorkerConfiguration(destination="x")
    job_id = in_worker(
        Client(now),
        lambda made: worker_job.start_or_find(made, before, configuration, local),
    )
    assert job_id == f"prefect-{now.id}-0"


@pytest.mark.parametrize(
    ("now", "expected"),
    [(Pending(), 1), (Crashed(), 1), (Completed(), 0), (Cancelling(), 0)],
)
def test_retry_waits_for_job_of_earlier_attempt(
    in_worker: InWorker,
    local: TejDestination,
    monkeypatch: pytest.MonkeyPatch,
    now: State[None],
    expected: int,
) -> None:
    before = flow_run(Pending(), run_count=1)
    after = before.model_copy(update={"state": now, "state_type": now.type})
    found = [True, False]
    monkeypatch.setattr(worker_job, "end_earlier_jobs", lambda *_: found.pop(0))
    monkeypatch.setattr(worker_job, "submit", lambda *_, **__: f"prefect-{before.id}-1")
    monkeypatch.setattr(worker_job, "newest_job", lambda *_: f"prefect-{before.id}-0")
    monkeypatch.setattr(TejWorker, "work_pool", None)
    configuration = TejWorkerConfiguration(destination="x")
    job_id = in_worker(
        Client(before, after),
        lambda made: worker_job.start_or_find(made, before, configuration, local),
    )
    assert job_id == f"prefect-{before.id}-{expected}"


def test_retried_flow_run_is_followed_until_last_job_ends(
    in_worker: InWorker, local: TejDestination, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = flow_run(Pending())
    owned: list[bool] = []

    async def follow(follower: JobFollower) -> int:
        if follower._job.id == "second":
            # The first job ends while the second job runs.
            first.set()
            await ended.wait()
            owned.append(one.id in follower._worker._own_flow_runs)
        else:
            await first.wait()
        return 0

    async def use(made: TejWorker) -> None:
        nonlocal first, ended
        first, ended = asyncio.Event(), asyncio.Event()
        configuration = TejWorkerConfiguration(destination="x")
        runs = [asyncio.ensure_future(made.run(one, configuration)) for _ in range(2)]
        await runs[0]
        ended.set()
        await runs[1]
        owned.append(one.id in made._own_flow_runs)

    async def load(_: str) -> TejDestination:
        return local

    async def submit(*_: object) -> str:
        return jobs.pop(0)

    first = ended = asyncio.Event()
    jobs = ["first", "second"]
    monkeypatch.setattr(worker, "_load", load)
    monkeypatch.setattr(worker, "start_or_find", submit)
    monkeypatch.setattr(JobFollower, "follow", follow)
    in_worker(Client(), use)
    assert owned == [True, False]


@pytest.mark.parametrize(
    ("command", "step", "expected"),
    [
        (f"python -m {EXECUTE} --key a", None, True),
        (f"python -m {EXECUTE} --key a", {"mine.upload": {}}, False),
        (None, None, False),
    ],
)
def test_only_caller_has_bundle_without_storage(
    command: str | None, step: dict[str, Any] | None, expected: bool
) -> None:
    storage = WorkPoolStorageConfiguration(bundle_upload_step=step)
    pool = WorkPool.model_construct(storage_configuration=storage)
    assert lacks_bundle(command, pool) == expected


def test_retried_flow_run_is_not_set_to_crashed(
    local: TejDestination, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow_run_id = flow_run_in(Running())
    job_id = f"prefect-{flow_run_id}-0"
    configuration = TejWorkerConfiguration(destination="x")
    local.get_client().setup()

    async def load(_: str) -> TejDestination:
        return local

    async def submit(*_: object) -> str:
        return job_id

    monkeypatch.setattr(worker, "_load", load)
    monkeypatch.setattr(worker, "start_or_find", submit)

    async def report() -> list[str | None]:
        async with get_client() as client:
            monkeypatch.setattr(TejWorker, "client", client)
            made = TejWorker(work_pool_name="pool")
            run = await client.read_flow_run(flow_run_id)
            assert (await made.run(run, configuration)).status_code == 1
            states = [await client.read_flow_run(flow_run_id)]
            # An automation retries the flow run before the base class reports the exit
            # code.
            await client.set_flow_run_state(flow_run_id, Scheduled(), force=True)
            await made._propose_crashed_state(run, "exit code 1")
            states.append(await client.read_flow_run(flow_run_id))
            # The retry cannot be submitted.
            await made._propose_crashed_state(run, "no connection")
            states.append(await client.read_flow_run(flow_run_id))
        return [one.state_name for one in states]

    assert asyncio.run(report()) == ["Crashed", "Scheduled", "Crashed"]


def test_kill_says_whether_job_was_killed(
    in_worker: InWorker,
    local: TejDestination,
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def load(_: str) -> TejDestination:
        return local

    monkeypatch.setattr(worker, "_load", load)
    configuration = TejWorkerConfiguration(destination="x")

    def kill(identifier: str) -> None:
        in_worker(
            Client(),
            lambda made: made.kill_infrastructure(identifier, configuration, 0),
        )

    with pytest.raises(InfrastructureNotFound):
        kill(f"{local.place}:a")
    run = TejJob(destination=local, script=gate.wait).trigger()
    for place in ("ssh://elsewhere ~/.tej:", ""):
        with pytest.raises(InfrastructureNotAvailable):
            kill(f"{place}{run.job_id}")
    assert run.status().state == "running"
    kill(f"{local.place}:{run.job_id}")
    assert run.status().state == "killed"
    with pytest.raises(InfrastructureNotFound):
        kill(f"{local.place}:{run.job_id}")
    # The file system of the queue may be unmounted.
    path = Path(local.queue)
    path.rename(path.with_name("away"))
    with pytest.raises(tej.RemoteCommandFailure, match="missing now"):
        kill(f"{local.place}:{run.job_id}")


def test_job_at_another_place_is_not_taken_over(
    in_worker: InWorker, local: TejDestination, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed: list[object] = []

    async def resolve(*_: object, **__: object) -> TejWorkerConfiguration:
        return TejWorkerConfiguration(destination="x")

    async def load(_: str) -> TejDestination:
        return local

    async def follow(follower: JobFollower) -> int:
        followed.append(follower._job.id)
        return 0

    monkeypatch.setattr(TejWorker, "work_pool", None)
    monkeypatch.setattr(TejWorkerConfiguration, "resolve_for_flow_run", resolve)
    monkeypatch.setattr(worker, "_load", load)
    monkeypatch.setattr(JobFollower, "follow", follow)
    # The destination of the work pool was changed after the submission of the job.
    jobs = [
        (Running(), "ssh://elsewhere ~/.tej", 0),
        (Pending(), "ssh://elsewhere ~/.tej", 0),
        (Running(), local.place, 1),
    ]
    for state, place, number in jobs:
        one = flow_run(state)
        one.infrastructure_pid = f"{place}:prefect-{one.id}-{number}"
        in_worker(Client(one), lambda made, one=one: made._take_over(one))
    assert followed == [f"prefect-{one.id}-1"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"deployment_id": uuid4()}, "deployment was deleted"),
        ({}, "Unable to find block document named no-such-block"),
    ],
)
def test_impossible_take_over_is_reported_once(
    in_worker: InWorker,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fields: dict[str, Any],
    reason: str,
) -> None:
    labels = {"prefect.worker.name": "dead"}
    one = flow_run(Running(), labels=labels, **fields)
    one.infrastructure_pid = f"local: ~/.tej:prefect-{one.id}-0"

    async def unended(*_: object) -> list[FlowRun]:
        return [one]

    async def resolve(*_: object, **__: object) -> TejWorkerConfiguration:
        return TejWorkerConfiguration(destination="no-such-block")

    async def use(made: TejWorker) -> None:
        for _ in range(2):
            async with anyio.create_task_group() as group:
                made._runs_task_group = group
                await made._reconcile()

    monkeypatch.setattr(worker, "unended_flow_runs", unended)
    monkeypatch.setattr(TejWorker, "work_pool", None)
    monkeypatch.setattr(TejWorkerConfiguration, "resolve_for_flow_run", resolve)
    in_worker(Client(), use)
    (record,) = [one for one in caplog.records if "cannot take over" in one.message]
    assert record.levelname == "WARNING"
    assert record.exc_info is None
    assert reason in record.message
    assert one.infrastructure_pid in record.message


def test_reason_of_second_start_is_reported(
    in_worker: InWorker, local: TejDestination
) -> None:
    queue = local.get_client()
    configuration = TejWorkerConfiguration(destination="x", command="exit 75")
    ends = []
    for removed in (False, True):
        with configuration.directory() as directory:
            if removed:
                # The first start of the job has removed the file.
                (directory / "environment").unlink()
            job = queue.submit(None, directory)
        ends.append(queue.job(job).wait())

    async def describe(made: TejWorker) -> list[str]:
        jobs = [queue.job(end.job_id) for end in ends]
        one = flow_run(Running())
        return [
            follow(made, one, job, local).describe(end)
            for job, end in zip(jobs, ends, strict=True)
        ]

    own, second = in_worker(Client(), describe)
    assert own == ends[0].describe()
    assert second.startswith(
        f"{ends[1].describe()}. The job was started for the second"
    )


def test_only_orphaned_flow_runs_are_taken_over() -> None:
    def owned(name: str | None, state: State[None], **fields: Any) -> FlowRun:
        labels = {} if name is None else {"prefect.worker.name": name}
        return flow_run(state, labels=labels, **fields)

    deployment = uuid4()
    runs = {
        "live": owned("live", Running()),
        "dead": owned("dead", Running()),
        "mine": owned("mine", Running()),
        "cancelling": owned("dead", Cancelling()),
        "deployed": owned(None, Running(), deployment_id=deployment),
        "has caller": owned(None, Running()),
        "pending": owned(None, Pending(), deployment_id=deployment),
    }
    names = {one.id: name for name, one in runs.items()}
    finder = OrphanFinder("mine")

    def found() -> list[str]:
        orphans = finder.find(runs.values(), {"mine", "live"})
        return [names[one.id] for one in orphans]

    assert found() == ["dead", "mine", "cancelling", "deployed"]
    # A pending flow run has time to get the label of its worker.
    assert found() == ["dead", "mine", "cancelling", "deployed", "pending"]
