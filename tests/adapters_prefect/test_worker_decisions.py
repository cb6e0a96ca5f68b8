"""Decisions of the worker about flow runs and their jobs, without a server."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any, NoReturn
from uuid import uuid4

import anyio
import pytest
from clocks import SimulatedTime
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import InfrastructureNotAvailable, ObjectNotFound
from prefect.states import (
    Cancelled,
    Cancelling,
    Completed,
    Crashed,
    Paused,
    Pending,
    Running,
    Scheduled,
)
from prefect.workers.base import BaseWorker

import tej
from tej_prefect import job_follower, worker, worker_job
from tej_prefect.job_follower import JobFollower
from tej_prefect.worker_takeover import names_of_live

RUNNING, KILLED = tej.JobState.RUNNING, tej.JobState.KILLED
FINISHED = tej.JobState.FINISHED


def run(call: Callable[[], Awaitable[Any]]) -> Any:
    return anyio.run(call)


def flow_run(state: State[None], **fields: Any) -> FlowRun:
    facts: dict[str, Any] = {"id": uuid4(), "flow_id": uuid4(), "name": "test"}
    facts |= {"state": state, "state_type": state.type, "state_id": state.id}
    return FlowRun(**facts | fields)


def status(job_id: str, state: tej.JobState, **facts: Any) -> tej.JobStatus:
    return tej.JobStatus(job_id, state, PurePosixPath("/"), **facts)


class Queue:
    """A queue with the jobs that the test gives; all have the flow run's label."""

    place = "here"

    def __init__(self, **jobs: tej.JobStatus) -> None:
        self.known = jobs
        self.calls: list[tuple[Any, ...]] = []
        self.errors: list[tej.Error] = []

    def get_client(self) -> Queue:
        return self

    def _call(self, *words: Any) -> None:
        self.calls.append(words)
        if self.errors:
            raise self.errors.pop(0)

    def jobs(self, states: Any, labels: dict[str, str]) -> list[tej.JobStatus]:
        self._call("jobs", *labels)
        some = self.known.values()
        return [one for one in some if not states or one.state in states]

    def statuses(self, ids: list[str]) -> dict[str, Any]:
        self._call("statuses", *ids)
        return {one: self.known.get(one) for one in ids}

    def as_completed(self, ids: list[str], timeout: float) -> Iterator[Any]:
        self._call("wait", *ids, timeout)
        yield from ids

    def kill_many(self, ids: list[str]) -> None:
        self._call("kill", *ids)


def queue_of(one: FlowRun, *jobs: tuple[int | str, tej.JobState], **facts: Any) -> Any:
    ids = {
        number if isinstance(number, str) else f"prefect-{one.id}-{number}": state
        for number, state in jobs
    }
    return Queue(**{job: status(job, state, **facts) for job, state in ids.items()})


def test_only_the_place_of_the_current_attempt_matters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A pending flow run may have an earlier job at the former destination."""
    calls: list[str] = []

    async def resolve(_: object) -> Any:
        return SimpleNamespace(destination="x")

    async def load(_: str) -> Any:
        return Queue()

    async def follow(_: object, __: object) -> Any:
        calls.append("run")
        made._reported.update(codes[0:1] and [one.id])
        return SimpleNamespace(status_code=sum(codes))

    monkeypatch.setattr(worker, "_load", load)
    made = SimpleNamespace(
        name="w", _resolve=resolve, run=follow, _followed=Counter(), _refusals={}
    )
    made._reported = Counter()
    made.get_flow_run_logger = lambda _: logging.getLogger("worker")
    codes: list[int] = []
    for state, place, number, runs in (
        (Pending(), "elsewhere", 1, False),
        (Pending(), "elsewhere", 0, True),
        (Pending(), "here", 1, True),
        (Running(), "elsewhere", 1, True),
    ):
        one = flow_run(state, run_count=1)
        one.infrastructure_pid = f"{place}:prefect-{one.id}-{number}"
        made._followed[one.id] = 1
        made._refusals = {one.id: "earlier"}
        calls.clear()
        run(lambda one=one: worker.TejWorker._take_over(made, one))
        assert calls == ["run"] * runs
        assert [*made._refusals] == [one.id] * (not runs)
        assert made._followed[one.id] == 0
    # The base class does not report the end of this run, so it must not be ignored.
    codes.append(3)
    run(lambda: worker.TejWorker._take_over(made, one))
    assert +made._reported == Counter()


@pytest.mark.parametrize("reported", [0, 1, 2])
def test_reported_crash_is_ignored_once(
    monkeypatch: pytest.MonkeyPatch, reported: int
) -> None:
    crashes: list[str] = []

    async def crash(self: object, one: object, message: str, client: object) -> None:
        crashes.append(message)

    monkeypatch.setattr(BaseWorker, "_propose_crashed_state", crash)
    made = worker.TejWorker.__new__(worker.TejWorker)
    one = flow_run(Running())
    made._reported = Counter({one.id: reported, uuid4(): 1})
    for message in "abc":
        run(lambda message=message: made._propose_crashed_state(one, message))
    assert crashes == [*"abc"[reported:]]
    assert made._reported.total() == 1


def test_leases_are_renewed_for_own_pending_flow_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own, running, other = flow_run(Pending()), flow_run(Running()), flow_run(Pending())
    orphan = flow_run(Running())
    found, renewed, started = [own, running, other, orphan], [], []

    async def unended(*_: object) -> list[FlowRun]:
        return found

    async def renew(_: object, one: FlowRun) -> None:
        renewed.append(one)

    async def workers(_: object) -> list[Any]:
        return []

    def find(others: list[FlowRun], live: set[str]) -> list[FlowRun]:
        assert others == [other, orphan]
        return [orphan]

    monkeypatch.setattr(worker, "unended_flow_runs", unended)
    monkeypatch.setattr(worker, "renew_lease", renew)
    made: Any = worker.TejWorker.__new__(worker.TejWorker)
    made._followed = Counter([own.id, running.id])
    made._submitting_flow_run_ids = set()
    made._work_pool_name = "pool"
    made._client = SimpleNamespace(read_workers_for_work_pool=workers)
    made._orphans = SimpleNamespace(find=find)
    made._refusals = {orphan.id: "silent", uuid4(): "its flow run has ended"}
    made._runs_task_group = SimpleNamespace(
        start_soon=lambda step, one: started.append((step, one))
    )
    run(made._reconcile)
    assert renewed == [own]
    assert started == [(made._take_over, orphan)]
    assert made._followed[orphan.id] == 1
    assert [*made._refusals] == [orphan.id]


def test_deleted_deployment_cannot_be_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    async def read(_: object) -> NoReturn:
        raise ObjectNotFound(ValueError())

    async def resolve(_: object, **options: Any) -> str:
        asked.append(options["deployment"])
        return "configuration"

    made: Any = SimpleNamespace(client=SimpleNamespace(read_deployment=read))
    made.job_configuration = SimpleNamespace(resolve_for_flow_run=resolve)
    made.work_pool = made.name = made.backend_id = None
    with pytest.raises(InfrastructureNotAvailable, match="deployment was deleted"):
        run(
            lambda: worker.TejWorker._resolve(
                made, flow_run(Running(), deployment_id=uuid4())
            )
        )
    assert run(lambda: worker.TejWorker._resolve(made, flow_run(Running()))) == (
        "configuration"
    )
    assert asked == [None]


def test_step_is_repeated_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    calls: list[int] = []

    async def step() -> None:
        calls.append(len(pauses))
        if len(calls) == 1:
            raise ValueError("API")

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise KeyError

    monkeypatch.setattr(worker, "asyncio", SimpleNamespace(sleep=sleep))
    with contextlib.suppress(KeyError):
        run(lambda: worker._repeat(step, 7))
    assert (calls, pauses) == ([0, 1, 2], [7, 7, 7])


def test_worker_is_dead_after_three_missed_heartbeats() -> None:
    now = datetime.now(timezone.utc)

    def beat(name: str, ago: float | None, interval: int | None = None) -> Any:
        when = None if ago is None else now - timedelta(seconds=ago)
        return SimpleNamespace(
            name=name, last_heartbeat_time=when, heartbeat_interval_seconds=interval
        )

    some = [beat("a", 0), beat("b", 89), beat("c", 90), beat("d", None)]
    some += [beat("e", 29, 10), beat("f", 30, 10)]
    assert names_of_live(some) == {"a", "b", "e"}
    assert names_of_live([]) == names_of_live([beat("d", None)]) == set()


def test_job_of_the_last_attempt_is_the_newest() -> None:
    one = flow_run(Pending(), run_count=2)
    prefix = f"prefect-{one.id}-"
    for pid, jobs, newest in (
        (None, (), f"{prefix}2"),
        (f"here:{prefix}1", (), f"{prefix}1"),
        (f"here:{prefix}1", ((3, KILLED), (10, KILLED), (9, RUNNING)), f"{prefix}10"),
        # A job that the flow itself has started has the same label.
        (None, (("own-77", RUNNING), (0, KILLED)), f"{prefix}0"),
    ):
        one.infrastructure_pid = pid
        assert worker_job.newest_job(queue_of(one, *jobs), one) == newest
    missing = queue_of(one, (5, RUNNING))
    missing.errors = [tej.QueueNotFound("none")]
    assert worker_job.newest_job(missing, one) == f"{prefix}2"
    assert worker_job.is_of_attempt(f"here:{prefix}2", one)
    for earlier in (f"here:{prefix}1", "here:other-2", None, f"here:{prefix}"):
        assert not worker_job.is_of_attempt(earlier, one)


def test_earlier_jobs_end_before_a_new_attempt() -> None:
    logger: Any = logging.getLogger("worker")
    one = flow_run(Pending(), run_count=2)
    a, b = (f"prefect-{one.id}-{number}" for number in (0, 1))
    jobs = [(0, RUNNING), (1, RUNNING), (2, RUNNING), ("own", RUNNING)]
    queue = queue_of(one, *jobs)
    assert worker_job.end_earlier_jobs(queue, one, logger)
    assert queue.calls[1:] == [("wait", a, b, 45), ("kill", a, b)]
    for none in (queue_of(one, (2, RUNNING)), queue_of(one, (0, KILLED))):
        assert not worker_job.end_earlier_jobs(none, one, logger)
        assert [name for name, *_ in none.calls] == ["jobs"]
    first = flow_run(Pending(), run_count=0)
    queue = queue_of(first, (0, RUNNING))
    assert not worker_job.end_earlier_jobs(queue, first, logger)
    assert queue.calls == []


def test_running_job_is_killed_after_its_grace_period() -> None:
    logger: Any = logging.getLogger("worker")
    one = flow_run(Pending(), run_count=1)
    job = f"prefect-{one.id}-0"
    for error in (tej.WaitTimeout("late"), tej.JobNotFound("deleted")):
        queue = queue_of(one, (0, RUNNING))

        def wait(*_: object, error: tej.Error = error) -> NoReturn:
            raise error

        queue.as_completed = wait
        assert worker_job.end_earlier_jobs(queue, one, logger)
        assert queue.calls[1:] == [("kill", job)]


def test_job_of_the_current_state_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ended job of an earlier attempt is replaced; a running job never is."""
    logger: Any = logging.getLogger("worker")
    one = flow_run(Pending(), run_count=1)
    prefix = f"prefect-{one.id}-"
    mine = {"prefect-state": str(one.state_id)}

    def start(queue: Any, *words: Any) -> None:
        if words[-1] in queue.known:
            raise tej.JobAlreadyExists("known")
        queue.calls.append(("start", words[-1]))

    monkeypatch.setattr(worker_job, "_start", start)

    def submit(*jobs: tuple[int, tej.JobState], labels: Any = (), **facts: Any) -> Any:
        queue = queue_of(one, *jobs, labels=dict(labels))
        job = worker_job.submit(queue, one, None, logger, **facts)  # type: ignore[arg-type]
        started = [words[1] for words in queue.calls if words[0] == "start"]
        return job.removeprefix(prefix), [each == job for each in started]

    assert submit() == ("1", [True])
    assert submit((0, RUNNING)) == ("1", [True])
    assert submit((1, RUNNING)) == ("1", [])
    assert submit((1, KILLED), labels=mine) == ("1", [])
    assert submit((1, KILLED)) == ("2", [True])
    assert submit((1, KILLED), (2, KILLED)) == ("3", [True])
    assert submit((1, KILLED), (2, RUNNING)) == ("2", [])
    assert submit(only_find=True) == ("1", [])
    assert submit((0, RUNNING), only_find=True) == ("0", [])
    assert submit((0, KILLED), only_find=True) == ("1", [])
    assert submit((1, KILLED), only_find=True) == ("2", [])
    assert submit((5, RUNNING), (1, KILLED), labels=mine, only_find=True) == ("1", [])


def test_job_has_the_name_and_labels_of_its_flow_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    one, calls = flow_run(Pending()), list[Any]()
    monkeypatch.setattr(worker_job, "related_to", lambda _: ())
    monkeypatch.setattr(
        worker_job, "emit_start", lambda record, _: calls.append(record.name)
    )
    queue = SimpleNamespace(
        submit=lambda *words, **facts: calls.append((words, facts)),
        transport=SimpleNamespace(tunnel=lambda *ends: calls.append(ends)),
    )
    destination: Any = SimpleNamespace(get_client=lambda: queue)

    def start(**facts: Any) -> dict[str, Any]:
        known = {"tunnel": None, "labels": {"a": "b"}, "delete_after": None}
        known |= {"name": None, "resources": None, "login": False}
        known["directory"] = lambda: contextlib.nullcontext(tmp_path)
        calls.clear()
        worker_job._start(destination, one, SimpleNamespace(**known | facts), "j")  # type: ignore[arg-type]
        assert calls.pop() == "test"
        words, options = calls.pop()
        assert words == ("j", tmp_path)
        return dict(options)

    labels = {"a": "b", "prefect-flow-run": str(one.id)}
    labels[worker_job.STATE_LABEL] = str(one.state_id)
    plain = {"name": "test", "labels": labels, "resources": None, "login": False}
    assert start() == plain
    assert calls == []
    resources = tej.Resources(cpus=2)
    ends = (("", 1), ("host", 2))
    found = start(
        name="own", delete_after=1.5, resources=resources, login=True, tunnel=ends
    )
    labels |= {worker_job.DELETE_LABEL: "1.5"}
    assert found == {
        "name": "own",
        "labels": labels,
        "resources": resources,
        "login": True,
    }
    assert calls == [ends]


def test_newer_job_decides_the_state() -> None:
    one = flow_run(Pending(), run_count=1)
    job, later = f"prefect-{one.id}-0", f"prefect-{one.id}-1"
    own = {"labels": {"prefect-state": str(one.state_id)}}
    other = {"labels": {"prefect-state": str(uuid4())}}
    superseded = worker_job.is_superseded
    nothing = queue_of(one, (0, KILLED))
    assert superseded(nothing, one, job, status(job, KILLED, **other))
    assert not superseded(nothing, one, job, status(job, KILLED, **own))
    assert not superseded(nothing, one, job, status(job, KILLED))
    assert not superseded(nothing, one, job, None)
    running = one.model_copy(update={"state_type": Running().type})
    assert not superseded(nothing, running, job, status(job, KILLED, **other))
    newer = queue_of(one, (0, KILLED), (1, RUNNING))
    assert superseded(newer, running, job, None)
    assert not superseded(newer, running, later, None)


def follower(**facts: Any) -> Any:
    made: Any = JobFollower.__new__(JobFollower)
    made._logger = logging.getLogger("worker")
    made._kill_at, made._last_error = None, ""
    made._has_ended_processes = False
    made._flow_run = flow_run(Running())
    made._worker = SimpleNamespace()
    for name, value in facts.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    ("state", "end", "code", "calls"),
    [
        (Cancelling(), status("a", KILLED), 0, ["cancelled"]),
        (Cancelled(), status("a", KILLED), 0, []),
        (Completed(), status("a", FINISHED, exit_code=0), 0, []),
        (Completed(), status("a", FINISHED, exit_code=3), 3, []),
        (Completed(), status("a", FINISHED, exit_code=124), 124, []),
        (Completed(), status("a", FINISHED, exit_code=125), 1, []),
        (Completed(), status("a", KILLED, signal=15), 1, []),
        (Completed(), None, 1, []),
        (Scheduled(), status("a", FINISHED, exit_code=3), 0, []),
        (Paused(reschedule=True), status("a", FINISHED, exit_code=3), 0, []),
        (Crashed(), status("a", tej.JobState.LOST), 1, []),
        (Running(), status("a", FINISHED, exit_code=0), 1, ["lines", "crashed"]),
        (Running(), status("a", FINISHED, exit_code=9), 9, ["lines", "crashed"]),
        (Running(), None, 1, ["crashed"]),
    ],
)
@pytest.mark.parametrize("superseded", [False, True])
def test_job_end_sets_only_an_unset_state(
    monkeypatch: pytest.MonkeyPatch,
    state: State[None],
    end: tej.JobStatus | None,
    code: int,
    calls: list[str],
    superseded: bool,
) -> None:
    done: list[str] = []

    async def cancelled(one: FlowRun, updates: dict[str, str]) -> None:
        assert updates == {"message": "words"}
        done.append("cancelled")

    async def crashed(_: object, one: FlowRun, message: str) -> None:
        assert message == "words"
        done.append("crashed")

    monkeypatch.setattr(BaseWorker, "_propose_crashed_state", crashed)
    monkeypatch.setattr(job_follower, "is_superseded", lambda *_: superseded)
    made = follower(_job=SimpleNamespace(queue=None, id="a"))
    made._worker._mark_flow_run_as_cancelled = cancelled
    monkeypatch.setattr(
        job_follower, "last_lines", lambda *_: done.append("lines") or []
    )
    found = run(lambda: made.report_end(flow_run(state), end, "words"))
    if superseded and "crashed" in calls:
        code, calls = 0, []
    assert (found, done) == (code, calls)


@pytest.mark.parametrize(
    ("state", "kills"),
    [
        (tej.JobState.QUEUED, [0, 45, 90]),
        (tej.JobState.CREATED, [0, 45, 90]),
        (RUNNING, [45, 90]),
    ],
)
def test_job_of_cancelled_flow_run_is_killed_again(
    monkeypatch: pytest.MonkeyPatch, state: tej.JobState, kills: list[float]
) -> None:
    """A retry of the flow run does not protect the job of the cancelled attempt."""
    clock, killed, is_cancelled = [0.0], [], [False]
    queue = SimpleNamespace(kill_many=lambda ids: killed.append((*ids, clock[0])))
    job = SimpleNamespace(id="a", queue=queue, status=lambda: status("a", state))
    made = follower(_job=job)
    monkeypatch.setattr(
        job_follower, "time", SimpleNamespace(monotonic=lambda: clock[0])
    )
    poller = SimpleNamespace(is_cancelled=lambda _: is_cancelled[0])
    monkeypatch.setattr(job_follower, "poller", poller)
    made._kill_if_cancelled()
    assert killed == []
    for is_cancelled[0], clock[0] in (
        *((True, 0.0), (True, 1.0), (False, 44.9), (False, 45.0), (False, 89.9)),
        (False, 90.0),
    ):
        made._kill_if_cancelled()
    assert killed == [("a", when) for when in kills]


@pytest.mark.parametrize(
    ("state", "left", "kills"),
    [
        (Running(), 2, 1),
        (Cancelling(), 2, 1),
        (Running(), 0, 0),
        (Completed(), 2, 0),
        (Scheduled(), 2, 0),
        (None, 2, 0),
    ],
)
def test_only_an_unended_flow_is_killed_after_its_job(
    state: State[None] | None, left: int, kills: int
) -> None:
    """If only the runner in the job was killed, the flow still runs."""
    calls: list[Any] = []
    errors = [tej.ConnectionFailed("lost")] * bool(kills)

    def kill(ids: list[str]) -> None:
        calls.append(*ids)
        if errors:
            raise errors.pop()

    async def read() -> FlowRun | None:
        return state and flow_run(state)

    async def report(one: FlowRun, *_: object) -> int:
        calls.append(one.state_type)
        return 0

    ended = status("a", FINISHED, exit_code=137, processes_left=left)
    made = follower(_job=SimpleNamespace(id="a", queue=SimpleNamespace(kill_many=kill)))
    made._configuration = SimpleNamespace(delete_when_done=False)
    made._destination = SimpleNamespace(place="here")
    made.wait, made.describe = (lambda: ended), (lambda _: "words")
    made.read_flow_run, made.report_end = read, report
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job_follower, "RETRY", 0)
        patch.setattr(job_follower, "emit_end", lambda *_: None)
        patch.setattr(job_follower.poller, "watch", lambda _: None)
        patch.setattr(job_follower.poller, "unwatch", lambda _: None)
        assert run(made.follow) == 0
    # The first kill failed, and is repeated before the end is reported.
    assert calls == ["a", "a"] * kills + ([state.type] if state else [])


@pytest.mark.parametrize("patience", [600.0, 29.0])
def test_each_error_of_a_wait_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, patience: float
) -> None:
    time = SimulatedTime()
    monkeypatch.setattr(job_follower, "time", time)
    monkeypatch.setattr(job_follower, "MISSING_TIMEOUT", patience)
    monkeypatch.setattr(job_follower, "JobOutput", lambda *_: None)
    end = status("a", KILLED)
    missing, lost = tej.QueueNotFound("unmounted"), tej.ConnectionFailed("cut")
    missing.waited = 0.0
    refused = tej.RemoteCommandFailure("refused", ret=10)
    # Before the last error, the queue replies for a minute.
    replies: list[Any] = [missing, missing, lost, refused, refused, 60.0, refused, end]

    def wait(_: object) -> Any:
        reply = replies.pop(0)
        if isinstance(reply, float):
            time.sleep(reply)
            reply = replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply

    made = follower(_job=SimpleNamespace(id="a"), _wait_once=wait)
    made._worker._logger = None
    assert made.wait() is (end if patience > 30 else None)
    words = (
        ["unmounted", "cut", "refused", "refused"] if patience > 30 else ["unmounted"]
    )
    assert [one.getMessage().partition(";")[0] for one in caplog.records] == words
    assert time.now == (240.0 if patience > 30 else 30.0)
    replies[:] = [tej.JobNotFound("deleted")]
    assert made.wait() is None
