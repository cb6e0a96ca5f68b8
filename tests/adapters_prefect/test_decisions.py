"""Decisions of batches, claims and cancellations, without Prefect's server."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any, NoReturn
from uuid import UUID, uuid4

import anyio
import pytest
from clocks import SimulatedTime
from prefect.exceptions import ObjectNotFound, TerminationSignal
from prefect.states import Cancelled, Cancelling, Completed, Failed, Running

import tej
from tej_prefect import (
    batch,
    cancellation_poller,
    claims,
    flow_run_cancellation,
    jobs,
    worker,
)
from tej_prefect.batch import JobsFailed, _Batch, _read_status, wait_for_one
from tej_prefect.claims import EXPIRY, Claim, Claims
from tej_prefect.context import Run
from tej_prefect.flow_run_cancellation import (
    CancellationGuard,
    FlowRunCancelled,
    KillCounts,
    kill_jobs,
)
from tej_prefect.job_result import JobRecord, JobResult

RUNNING, KILLED = tej.JobState.RUNNING, tej.JobState.KILLED
FINISHED = tej.JobState.FINISHED


def status(job_id: str, state: tej.JobState = RUNNING) -> tej.JobStatus:
    return tej.JobStatus(job_id, state, PurePosixPath(f"/q/jobs/{job_id}/stage"))


class Calls:
    """Records the calls of all methods, in the order of the calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **_: self.calls.append((name, *arguments))

    def names(self) -> list[str]:
        return [name for name, *_ in self.calls]


class Queue(Calls):
    """A queue on a server whose replies the test decides."""

    place = "here"

    def __init__(self) -> None:
        super().__init__()
        self.states: dict[str, tej.JobStatus | None] = {}
        self.error: Exception | None = None
        self.was_reached = True
        self.late: tuple[str, ...] = ()
        """Jobs that have not ended when the server replies to a kill."""

    def get_client(self) -> Queue:
        return self

    def statuses(self, ids: list[str]) -> dict[str, tej.JobStatus | None]:
        if self.error is not None:
            raise self.error
        return {one: self.states.get(one) for one in ids}

    def kill_many(self, ids: list[str]) -> dict[str, Any]:
        self.calls.append(("kill", *ids))
        found: dict[str, Any] = dict.fromkeys(ids)
        for one in ids:
            end = status(one, RUNNING if one in self.late else KILLED)
            found[one] = SimpleNamespace(was=RUNNING, status=end)
        return found


def record(queue: Any, job_id: str, **fields: Any) -> JobRecord:
    return JobRecord(queue, job_id, **fields)


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Queue:
    monkeypatch.setattr(flow_run_cancellation, "claims", Calls())
    monkeypatch.setattr(flow_run_cancellation, "wanted_by_others", lambda *_: {})
    monkeypatch.setattr(
        flow_run_cancellation, "run_logger", lambda: logging.getLogger("x")
    )
    return Queue()


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (3, ["3 of 9 jobs failed:", "0: bad", "1: bad", "2: bad"]),
        (4, ["4 of 9 jobs failed:", "0: bad", "1: bad", "2: bad", "and 1 more: 3"]),
        (6, ["6 of 9 jobs failed:", *(f"{n}: bad" for n in range(3))]),
        (7, ["7 of 9 jobs failed:", *(f"{n}: bad" for n in range(3))]),
    ],
)
def test_error_names_the_first_failures(number: int, words: list[str]) -> None:
    results = [
        JobResult(job_id="", name=str(n), place="", error="bad") for n in range(number)
    ]
    good = JobResult(job_id="", place="", state=FINISHED, exit_code=0)
    error = JobsFailed.of([*results, *[good] * (9 - number)])
    end = {6: ["and 3 more: 3, 4, 5"], 7: ["and 4 more: 3, 4, 5, ..."]}
    assert str(error).splitlines() == words + end.get(number, [])
    assert len(error.results) == 9


def test_counts_are_described_without_zeros() -> None:
    counts = KillCounts(2)
    counts.leave(0, "none")
    assert str(counts) == "2 jobs killed"
    counts.stopping = 1
    for number, reason in enumerate("abcda", 1):
        counts.leave(number, reason)
    counts.miss(4)
    counts.miss(1)
    assert str(counts) == (
        "2 jobs killed, 1 still stopping, 15 left running (a; b; c), "
        "5 unreachable and possibly still running"
    )
    assert not counts.is_complete


def bare_batch(attempt: int = 1) -> Any:
    """Return a batch whose guard, artifacts and outputs record their calls."""
    made: Any = _Batch.__new__(_Batch)
    made.records, made._submitting, made._is_many = {}, False, True
    made._log_output = True
    made._guard = made._artifacts = made._outputs = calls = Calls()
    calls.run = SimpleNamespace(attempt=attempt)  # type: ignore[attr-defined]
    calls.logger = calls  # type: ignore[attr-defined]
    return made


def test_only_a_first_attempt_restarts_killed_jobs() -> None:
    restarts = {
        (state, submitting, attempt)
        for state in (KILLED, FINISHED)
        for submitting in (True, False)
        for attempt in (1, 2)
        for made in [bare_batch(attempt)]
        if not setattr(made, "_submitting", submitting)
        and made._wants_restart(status("a", state))
    }
    assert restarts == {(KILLED, True, 1)}


def core(record: JobRecord, **fields: Any) -> Any:
    """Return a result of `tej.Batch`."""
    known: dict[str, Any] = {"error": None, "status": None, "is_new": True}
    known["job"] = SimpleNamespace(id=record.job_id)
    known["run"] = SimpleNamespace(key=record)
    # A SimpleNamespace has no hash.
    return type("Core", (), known | fields)()


def test_started_jobs_are_claimed_before_the_next_submission(queue: Queue) -> None:
    made = bare_batch()
    guard = made._guard
    kept, killed = record(queue, "a", on_cancel="leave"), record(queue, "b")
    made._on_submit([core(kept)])
    assert "submitting" not in vars(guard)
    made._on_submit([core(kept), core(killed)])
    assert (guard.submitting, made._submitting) == (queue, True)
    failed = record(queue, "c")
    new, old = core(kept, status=status("a")), core(killed, is_new=False)
    broken = core(failed, error=tej.Error("bad"))
    made._on_start([new, old, broken, core(failed, job=None)])
    assert (guard.submitting, made._submitting) == (None, False)
    assert made.records == {new: kept, old: killed}
    assert [one.found for one in (kept, killed)] == [False, True]
    assert guard.names() == ["check", "check", "error", "error", "add", "add", "add"]
    assert guard.calls[4] == ("add", {kept: status("a"), killed: None})
    guard.calls.clear()
    made._on_tick()
    assert guard.names() == ["check", "update", "read"]
    made._log_output = False
    made._on_start([])
    assert guard.names()[3:] == ["add", "add"]
    guard.calls.clear()
    made.log_starts()
    assert guard.calls == [("info", "%d jobs started, %d existing jobs found", 1, 1)]
    made._is_many = False
    made.log_starts()
    assert [one[2:] for one in guard.calls[1:]] == [
        ("a", "a", "started", "here"),
        ("b", "b", "found", "here"),
    ]


def test_only_ended_jobs_leave_the_guard(queue: Queue) -> None:
    made = bare_batch()
    ids = {one: record(queue, one) for one in ("late", "gone", "done", "unknown")}
    results = {one: core(ids[one]) for one in ids}
    made.records = {results[one]: ids[one] for one in ids}
    results["late"].error = tej.WaitTimeout("late")
    results["gone"].error = tej.JobNotFound("gone")
    results["done"].status = status("done", FINISHED)
    made._on_end([*results.values(), core(record(queue, "other"))])
    gone, done, unknown = (ids[one] for one in ("gone", "done", "unknown"))
    assert made._guard.calls == [
        *[("finish", gone), ("remove", gone), ("set_end", gone, None)],
        *[("finish", done), ("remove", done)],
        ("set_end", done, results["done"].status),
        *[("finish", unknown), ("remove", unknown)],
    ]
    made._guard.kill = lambda records: f"killed {[one.job_id for one in records]}"
    made.kill_late(1.5)
    words = "Job 'late' had not ended after 1.5 seconds: killed ['late']"
    assert str(results["late"].error) == words
    assert str(results["gone"].error) == "gone"
    del made.records[results["late"]], made._guard.kill
    made._guard.calls.clear()
    made.kill_late(1)
    assert made._guard.calls == []


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> Calls:
    calls = Calls()
    for name in ("JobArtifacts", "Outputs"):
        monkeypatch.setattr(batch, name, lambda _: calls)
    return calls


@pytest.mark.parametrize("in_flow", [True, False])
def test_unreachable_job_is_claimed_later(
    queue: Queue, reports: Calls, monkeypatch: pytest.MonkeyPatch, in_flow: bool
) -> None:
    guard, time = Calls(), SimulatedTime()
    guard.run = SimpleNamespace(flow_run_id=uuid4() if in_flow else None)  # type: ignore[attr-defined]
    guard.logger = None  # type: ignore[attr-defined]
    monkeypatch.setattr(
        batch, "CancellationGuard", lambda _: contextlib.nullcontext(guard)
    )
    monkeypatch.setattr(batch, "time", time)
    queue.error = tej.ConnectionFailed("silent")
    seen: list[list[str]] = []

    def as_completed(ids: list[str], timeout: object, on_tick: Any) -> Iterator[Any]:
        for time.now in (0.0, batch.PERIOD - 1, batch.PERIOD, 1e9):
            queue.error = None if time.now == 1e9 else queue.error
            queue.states["a"] = status("a")
            on_tick()
            on_tick()
            seen.append(guard.names())
        yield "a", status("a", FINISHED)

    queue.as_completed = as_completed  # type: ignore[attr-defined]
    assert wait_for_one(record(queue, "a")).state is FINISHED
    added = [one[1].popitem()[1] for one in guard.calls if one[0] == "add"]
    assert added == ([None, None, status("a")] if in_flow else [None])
    assert [names.count("add") for names in seen] == (
        [1, 1, 2, 3] if in_flow else [1, 1, 1, 1]
    )
    assert guard.names().count("check") == 8
    names = reports.names()
    assert (names.count("read"), names[-3:]) == (8, ["finish", "set_end", "update"])
    assert names.count("add") == 2


def test_unreached_server_is_an_error(queue: Queue) -> None:
    any_queue: Any = queue
    queue.states["a"] = status("a")
    assert _read_status(any_queue, "a") == status("a")
    for error in (
        tej.QueueNotFound("none"),
        tej.RemoteCommandFailure("missing now", ret=10),
        tej.ConnectionFailed("silent"),
    ):
        queue.error = error
        assert _read_status(any_queue, "a") is None
    queue.was_reached = False
    with pytest.raises(tej.ConnectionFailed):
        _read_status(any_queue, "a")


def claim(*flow_runs: UUID, jobs: str = "a", age: float = 0.0) -> Claim:
    return Claim(flow_runs, frozenset(jobs), age, False)


def test_claim_counts_until_it_expires() -> None:
    one = uuid4()
    assert claim(one, age=EXPIRY - 1).is_live
    assert not claim(one, age=EXPIRY).is_live
    suspended = Claim((one,), frozenset(), EXPIRY, True)
    assert suspended.is_live
    assert str(suspended) == f"flow run {one} (suspended)"
    assert str(claim(one, age=2.4)) == f"flow run {one} (last seen 2 s ago)"
    content = f'{{"flow_runs": ["{one}"], "jobs": ["a"]}}'.encode()
    assert claims._parse("x", content, 5, 7) == claim(one, age=2)
    found = claims._parse("suspended-x", content, 5, 7)
    assert found is not None
    assert found.suspended
    for broken in (b"", b"[]", b'{"flow_runs": [], "jobs": []}', b'{"jobs": []}'):
        assert claims._parse("x", broken, 5, 7) is None


def test_only_flow_runs_that_need_a_job_keep_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = ["own", "cancelled", "ended", "stale", "unknown", "running", "child"]
    ids = {one: uuid4() for one in names}
    found = [claim(ids[one], jobs=one[0]) for one in names[:-1]]
    found[3] = claim(ids["stale"], jobs="s", age=EXPIRY)
    found.append(claim(ids["child"], ids["ended"], jobs="x"))
    states = {"cancelled": Cancelling(), "ended": Completed(), "running": Running()}
    runs = {
        ids[one]: SimpleNamespace(state=state, state_type=state.type)
        for one, state in states.items()
    }
    runs[ids["child"]] = SimpleNamespace(state=None, state_type=None)
    asked: list[set[UUID]] = []

    def read_all(_: object, wanted: Iterator[UUID]) -> dict[UUID, Any]:
        asked.append({*wanted})
        return runs

    monkeypatch.setattr(claims, "read_claims", lambda *_: found)
    monkeypatch.setattr(claims, "read_all", read_all)
    monkeypatch.setattr(claims, "get_client", lambda **_: contextlib.nullcontext())
    any_queue: Any = None
    others = claims.wanted_by_others(any_queue, "/", [ids["own"]])
    assert {*others} == {"u", "r"}
    assert asked == [{ids[one] for one in ids if one not in ("own", "stale")}]
    del found[1:]
    assert claims.wanted_by_others(any_queue, "/", [ids["own"]]) == {}
    assert len(asked) == 1


def test_claim_is_written_until_it_is_withdrawn(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[Any, ...]] = []
    fails = threading.Event()

    def write(*words: Any) -> None:
        written.append(words[3:])
        if fails.is_set():
            raise tej.ConnectionFailed("silent")

    monkeypatch.setattr(claims, "_write", write)
    made: Any = Claims()
    made._renew = made._await_end = lambda own: own.is_read.set()
    one, other = uuid4(), uuid4()

    def fail(_: threading.Thread) -> NoReturn:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        with pytest.raises(RuntimeError):
            made.add(one, queue, "/", ["a"])
    # Without its threads, the claim would expire.
    assert made._own == {}
    made.add(one, queue, "/", ["a", "b"])
    made.add(one, queue, "/", ["a"])
    made.add(one, queue, "/", ["c"])
    assert written == [([one], ["a", "b"]), ([one], ["a", "b", "c"])]
    # A claim that was not written is written again.
    fails.set()
    made.add(one, queue, "/", ["d"])
    fails.clear()
    made.add(one, queue, "/", ["d"])
    assert len(written) == 4
    made.add(other, queue, "/", ["a"])
    (own, kept) = made._own.values()
    made.withdraw(one)
    own.write()
    assert len(written) == 5
    assert [*made._own.values()] == [kept]
    assert [(made._is_needed(one)) for one in (own, kept)] == [False, True]
    assert queue.names() == ["shell"]


@pytest.mark.parametrize(
    ("state", "ended"),
    [(Running(), False), (Cancelling(), False), (Failed(), True), (None, True)],
)
def test_end_of_a_flow_run_is_its_final_state(
    monkeypatch: pytest.MonkeyPatch, state: Any, ended: bool
) -> None:
    one, parent = uuid4(), uuid4()
    members = [SimpleNamespace(id=one), SimpleNamespace(id=parent)]
    monkeypatch.setattr(claims, "family", lambda *_: members)
    monkeypatch.setattr(claims, "get_client", lambda **_: contextlib.nullcontext())
    run = {one: SimpleNamespace(state=state)}
    monkeypatch.setattr(claims, "read_all", lambda *_: run)
    any_queue: Any = None
    own = claims._OwnClaim(any_queue, "/", one)
    assert own.has_ended() is ended
    assert own.is_read.is_set()
    assert own.members == [one, parent]
    members.clear()
    run.clear()
    assert own.has_ended()
    assert own.members == [one, parent]


def guard_of(flow_run_id: UUID | None, **fields: Any) -> CancellationGuard:
    guard = CancellationGuard()
    guard.run = Run(flow_run_id, **fields)
    return guard


def test_job_is_left_if_any_record_leaves_it(queue: Queue) -> None:
    for kinds in (["kill", "leave"], ["leave", "kill"], ["kill", "kill"]):
        guard = guard_of(uuid4())
        for kind in kinds:
            guard.add({record(queue, "a", on_cancel=kind): None})
        (known,) = guard._jobs.values()
        assert known.on_cancel == ("leave" if "leave" in kinds else "kill")
    own: Any = flow_run_cancellation.claims
    assert own.calls == []
    jobs = {record(queue, "a"): None, record(queue, "b"): status("b")}
    guard.add(jobs)
    guard_of(None).add(jobs)
    stage = "/q/jobs/b/stage"
    assert own.calls == [("add", guard.run.flow_run_id, queue, stage, ["a", "b"])]
    guard.remove(record(queue, "a"))
    guard.remove(record(queue, "other"))
    assert [one.job_id for one in guard._jobs.values()] == ["b"]


def test_unclaimed_running_jobs_are_killed(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.states = {one: status(one) for one in "abcd"} | {"e": status("e", FINISHED)}
    other, stages = claim(uuid4()), []

    def wanted(_: object, stage: str, cancelled: object) -> dict[str, Claim]:
        stages.append((stage, cancelled))
        return {"b": other, "x": other}

    monkeypatch.setattr(flow_run_cancellation, "wanted_by_others", wanted)
    queue.late = ("c",)
    records = [record(queue, one) for one in "abcef"]
    records.append(record(queue, "d", on_cancel="leave"))
    counts = KillCounts()
    kill_jobs(records, [], counts)
    assert queue.calls == [("kill", "a", "c")] or queue.calls == [("kill", "c", "a")]
    assert (counts.killed, counts.stopping, counts.left) == (1, 1, 2)
    assert counts.is_complete
    assert stages[0][0] in {f"/q/jobs/{one}/stage" for one in "abce"}
    guard = guard_of(None)
    assert guard.kill([records[-1]]).killed == 1
    assert stages[1] == ("/q/jobs/d/stage", [])
    flow_run_id = uuid4()
    guard_of(flow_run_id).kill([records[-1]])
    assert stages[2] == ("/q/jobs/d/stage", [flow_run_id])


def test_job_that_cannot_be_checked_is_left_running(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(flow_run_cancellation, "wanted_by_others", fail)
    queue.states = {"a": status("a")}
    error: Exception = RuntimeError("no API")
    counts = KillCounts()
    kill_jobs([record(queue, "a")], [], counts)
    assert (counts.left, counts.unreachable, counts.is_complete) == (1, 0, False)
    error = tej.ConnectionFailed("silent")
    counts = KillCounts()
    kill_jobs([record(queue, "a")], [], counts)
    assert (counts.left, counts.unreachable, counts.is_complete) == (0, 1, False)
    # The file system of the queue may be unmounted.
    queue.error = tej.QueueNotFound("none")
    counts = KillCounts()
    kill_jobs([record(queue, "a")], [], counts)
    assert (counts.left, counts.unreachable, counts.is_complete) == (0, 1, False)
    assert [one for one in queue.calls if one != ("kill",)] == []


@pytest.mark.parametrize(
    ("error", "api", "kills", "sets"),
    [
        (None, True, False, False),
        (ValueError(), True, False, False),
        (KeyboardInterrupt(), False, False, False),
        (KeyboardInterrupt(), True, True, False),
        (FlowRunCancelled(), True, True, True),
        # The poll has seen the cancellation, and the API does not reply now.
        (FlowRunCancelled(), False, True, True),
    ],
)
def test_only_a_cancellation_kills_jobs(
    queue: Queue,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException | None,
    api: bool,
    kills: bool,
    sets: bool,
) -> None:
    flow_run_id, poller = uuid4(), Calls()
    poller.is_cancelled = lambda _: False  # type: ignore[attr-defined]
    monkeypatch.setattr(flow_run_cancellation, "poller", poller)
    monkeypatch.setattr(
        flow_run_cancellation, "cancelled_ancestors", lambda one: [one] if api else []
    )
    own: Any = flow_run_cancellation.claims
    for flow_run in (flow_run_id, None):
        done: list[Any] = []
        guard: Any = guard_of(flow_run)
        guard._kill_jobs = lambda ids: done.append(("kill", *own.names()[-1:], *ids))
        guard._set_cancelled = lambda _: done.append("set")
        guard._jobs = {("here", "a"): record(queue, "a")}
        with contextlib.suppress(BaseException), guard:
            if error is not None:
                raise error
        killed = [("kill", "withdraw", flow_run_id)] * kills + ["set"] * sets
        assert done == (killed if flow_run else [])
    assert poller.calls == [("watch", flow_run_id), ("unwatch", flow_run_id)]


def test_thread_ends_when_its_run_is_stopped(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    poller = SimpleNamespace(is_cancelled=lambda one: one == cancelled)
    monkeypatch.setattr(flow_run_cancellation, "poller", poller)
    cancelled, stops = uuid4(), [threading.Event(), threading.Event()]
    guard = CancellationGuard(stops[0])
    guard.run = Run(uuid4(), stop=stops[1])
    guard.check()
    guard_of(None).check()
    for stop in stops:
        stop.set()
        with pytest.raises(TerminationSignal) as caught:
            guard.check()
        assert caught.value.signal == signal.SIGTERM
        stop.clear()
    guard.run = Run(cancelled)
    with pytest.raises(FlowRunCancelled):
        guard.check()


def test_only_flow_runs_without_a_runner_are_set_to_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(state: Any, deployment: bool = False) -> Any:
        kind = None if state is None else state.type
        return SimpleNamespace(
            state=state, state_type=kind, deployment_id=uuid4() if deployment else None
        )

    def chosen(*runs: Any) -> list[int]:
        monkeypatch.setattr(flow_run_cancellation, "family", lambda *_: [*runs])
        client: Any = None
        found = flow_run_cancellation._without_runner(client, uuid4())
        return [runs.index(one) for one in found]

    cancelling, running = run(Cancelling()), run(Running())
    assert chosen(running, cancelling, run(Running())) == [0, 1]
    assert chosen(running, run(Cancelled()), running) == [0]
    assert chosen(run(None), cancelling) == [0, 1]
    assert chosen(running) == []
    assert chosen(cancelling, run(Running(), deployment=True)) == []


def test_result_needs_a_downloaded_file(queue: Queue, tmp_path: Path) -> None:
    one = record(queue, "a", results_directory=tmp_path, found=False)
    assert (one.name, one.results) == ("a", [])
    result = one.result(status("a", KILLED), [tmp_path / "a/d/x"])
    assert (result.state, result.found, result.place) == (KILLED, False, "here")
    assert result.path("d/x") == tmp_path / "a/d/x"
    assert result.path("d") == tmp_path / "a/d"
    for empty in (result, one.result(None)):
        with pytest.raises(tej.DownloadFailed):
            empty.path("y")
    assert one.result(None).directory is None
    good = {"job_id": "a", "place": "", "state": FINISHED, "exit_code": 0}
    changes: list[dict[str, Any]] = [{}, {"state": KILLED}, {"exit_code": 1}]
    changes += [{"cut_off": "limit"}, {"error": "bad"}]
    assert [JobResult(**good | change).succeeded for change in changes] == [
        *(True, False, False, False, False),
    ]


@pytest.mark.parametrize("is_service", [True, False])
def test_only_a_service_takes_over_flow_runs(
    monkeypatch: pytest.MonkeyPatch, is_service: bool
) -> None:
    """A program with a worker of its own sends only heartbeats."""
    started: list[tuple[str, float]] = []

    async def repeat(step: Any, seconds: float) -> None:
        started.append((getattr(step, "name", "other"), seconds))

    monkeypatch.setattr(worker, "_repeat", repeat)
    steps = ("sync_with_backend", "_reconcile", "_delete_old_jobs")
    made: Any = SimpleNamespace(
        _is_service=is_service, heartbeat_interval_seconds=30, _reconciling=None
    )
    for name in steps:
        setattr(made, name, SimpleNamespace(name=name))

    async def run() -> None:
        made._reconciling = anyio.CancelScope()
        await worker.TejWorker._repeat_steps(made)

    anyio.run(run)
    if not is_service:
        assert started == [("sync_with_backend", 30)]
        return
    assert started == [
        ("_reconcile", worker.RECONCILE),
        ("_delete_old_jobs", worker.DELETE_PERIOD),
        ("other", worker.RECONCILE),
    ]


def test_templates_are_rendered_except_links(tmp_path: Path) -> None:
    job = tmp_path / "job"
    (job / "b").mkdir(parents=True)
    (job / "a.j2").symlink_to("b/x.j2")
    (job / "b/dir.j2").mkdir()
    (job / "b/x.j2").write_bytes(b"{{ n }} \xff\n")
    (job / "b/x.j2").chmod(0o750)
    jobs._render_directory(job, {"n": 3})
    assert sorted(one.name for one in job.rglob("*")) == ["a.j2", "b", "dir.j2", "x"]
    assert (job / "b/x").read_bytes() == b"3 \xff\n"
    assert (job / "b/x").stat().st_mode & 0o777 == 0o750
    (job / "b/x.j2").write_text("")
    with pytest.raises(tej.InvalidJobDirectory, match=r"'b/x.j2'.*'x' exists already"):
        jobs._render_directory(job, {})


def test_files_are_copied_from_below_the_source(tmp_path: Path) -> None:
    source, folder = tmp_path / "source", tmp_path / "job"
    (source / "d/e").mkdir(parents=True)
    (source / "d/e/f").touch()
    (source / "link").symlink_to("d")
    folder.mkdir()
    for pattern in ("d/e", "link", "d/e"):
        jobs._copy(pattern, source, folder)
    assert (folder / "d/e/f").is_file()
    assert (folder / "link").is_symlink()
    for outside in (str(source / "d"), "../source", "d/../d"):
        with pytest.raises(tej.InvalidJobDirectory, match="points outside"):
            jobs._copy(outside, source, folder)
    with pytest.raises(tej.InvalidJobDirectory, match="'x' matches no file"):
        jobs._copy("x", source, folder)
    script = folder / "start.sh"
    jobs._write_script(script, "echo")
    assert script.read_text() == "#!/bin/sh\necho\n"
    assert script.stat().st_mode & 0o777 == 0o755
    with pytest.raises(tej.InvalidJobDirectory, match="omit `script`"):
        jobs._write_script(script, "echo")
    script.unlink()
    jobs._write_script(script, "#!/bin/bash\n")
    assert script.read_text() == "#!/bin/bash\n"


@pytest.mark.parametrize("is_submitted", [True, False])
def test_submission_alone_logs_and_fetches_nothing(
    queue: Queue, reports: Calls, is_submitted: bool
) -> None:
    one, guard, artifacts = record(queue, "a"), Calls(), Calls()
    request = tej.Run(queue, None, results=["out"], key=one)  # type: ignore[arg-type]
    if is_submitted:
        made: Any = _Batch([request], guard, artifacts, fetch=False)  # type: ignore[arg-type]
    else:
        made = _Batch([request], guard, artifacts, log_output=True)  # type: ignore[arg-type]
    (result,) = made.core.results
    assert [*result.run.results] == ([] if is_submitted else ["out"])
    # A restart of a killed job is decided for each job, unless the user has decided.
    assert result.run.retry == made._wants_restart
    made._on_start([core(one, status=status("a", FINISHED))])
    added = [name for name, *_ in reports.calls]
    assert added == ([] if is_submitted else ["add"])


def test_poll_continues_while_a_flow_run_is_watched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: Any = cancellation_poller.CancellationPoller()
    made._thread = threading.current_thread()
    one, polls = uuid4(), []

    def poll(watched: list[UUID]) -> None:
        polls.append(watched)
        if len(polls) == 3:
            made.unwatch(one)
        raise RuntimeError("no API")

    monkeypatch.setattr(cancellation_poller, "POLL_PERIOD", 0)
    made._poll = poll
    for _ in range(2):
        made.watch(one)
    made.unwatch(one)
    made._run()
    assert polls == [[one]] * 3
    assert made._thread is None
    made._watched[one] = 1
    monkeypatch.setattr(cancellation_poller, "is_exiting", lambda: True)
    made._run()
    assert len(polls) == 3


def test_cancelled_parent_cancels_a_watched_flow_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: Any = cancellation_poller.CancellationPoller()
    child, parent, free, gone = (uuid4() for _ in range(4))
    made._watched = dict.fromkeys((child, free), 1)
    states = {child: Running(), parent: Cancelling(), free: Running()}
    found = {
        id_: SimpleNamespace(id=id_, state_type=states[id_].type) for id_ in states
    }

    def family(_: object, id_: UUID) -> list[Any]:
        if id_ == gone:
            raise ObjectNotFound(ValueError())
        ids = [child, parent] if id_ == child else [id_]
        return [SimpleNamespace(id=each) for each in ids]

    monkeypatch.setattr(cancellation_poller, "family", family)
    monkeypatch.setattr(cancellation_poller, "read_all", lambda *_: found)
    monkeypatch.setattr(
        cancellation_poller, "get_client", lambda **_: contextlib.nullcontext()
    )
    made._poll([child, free, gone])
    assert made._cancelled == {child}
    assert made.is_cancelled(child)
    assert not made.is_cancelled(parent)
    assert made._families[gone] == [gone]
    # The flow run was retried, or is no longer watched.
    found[parent].state_type = Running().type
    made._poll([child])
    assert made._cancelled == set()
    found[parent].state_type = Cancelling().type
    del made._watched[child]
    made._poll([child])
    assert made._cancelled == set()
