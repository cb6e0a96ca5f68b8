"""Claims on the job's server: written, read, and their ages."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import pytest
from prefect.states import Completed, Running

import tej
from tej_prefect import TejDestination, TejJob, claims, context
from tej_prefect.cancellation import LEAVE_LABEL, CancellationGuard
from tej_prefect.claims import EXPIRY, Claims, read_claims
from tej_prefect.context import Run
from tests.adapters_prefect.flow_processes import flow_run_in


def test_claims_are_read_with_their_ages(
    queue: tej.RemoteQueue, queue_path: Path, job: object
) -> None:
    run = queue.ensure(job("exit 0"))  # type: ignore[operator]
    stage = str(run.status().directory)
    assert read_claims(queue, stage) == []
    ids = [uuid4(), uuid4(), uuid4()]
    for name, flow_run_id in zip(("live", "stale", "suspended-1"), ids, strict=True):
        claims._write(queue, stage, name, [flow_run_id], [run.id])
    (queue_path / "claims/broken").write_text("{")
    for name in ("stale", "suspended-1"):
        path = queue_path / "claims" / name
        os.utime(path, times=(0, path.stat().st_mtime - EXPIRY - 1))
    found = {claim.flow_runs[0]: claim for claim in read_claims(queue, stage)}
    assert [found[one].is_live for one in ids] == [True, False, True]
    assert {claim.jobs for claim in found.values()} == {frozenset([run.id])}
    run.wait()
    assert queue.cleanup()
    assert not queue_path.exists()


class Over(Exception):
    """Ends the thread that sends heartbeats."""


@pytest.fixture
def one_heartbeat(monkeypatch: pytest.MonkeyPatch) -> Claims:
    """Claims without a thread, whose method `_run` sends one heartbeat and ends."""
    made = Claims()
    # `add` starts a thread only if `_thread` is None.
    monkeypatch.setattr(made, "_thread", object())
    pauses: Iterator[object] = iter([None])

    def sleep(seconds: float) -> None:
        if threading.current_thread() is not threading.main_thread():
            # The heartbeat thread of an earlier test calls this function, too.
            time.sleep(seconds)
            return
        assert seconds < EXPIRY / 3
        if next(pauses, Over) is Over:
            raise Over

    monkeypatch.setattr(claims, "time", SimpleNamespace(sleep=sleep))
    return made


def test_heartbeats_end_with_their_flow_run(
    prefect_server: str,
    queue: tej.RemoteQueue,
    queue_path: Path,
    job: object,
    one_heartbeat: Claims,
) -> None:
    run = queue.ensure(job("exit 0"))  # type: ignore[operator]
    stage = str(run.status().directory)
    live, ended = flow_run_in(Running()), flow_run_in(Completed())
    for flow_run_id in (live, ended):
        one_heartbeat.add(flow_run_id, queue, stage, [run.id])
    for path in (queue_path / "claims").iterdir():
        os.utime(path, times=(0, 0))
    with pytest.raises(Over):
        one_heartbeat._run()
    (claim,) = read_claims(queue, stage)
    assert claim.flow_runs == (live,)
    assert claim.is_live


def test_exiting_process_sends_no_heartbeat(
    queue: tej.RemoteQueue, one_heartbeat: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start_server(**_: object) -> None:
        raise AssertionError("Prefect would start a temporary server")

    own = claims._Own(queue, "/", uuid4())
    monkeypatch.setattr(own, "has_ended", start_server)
    one_heartbeat._own[own.flow_run_id, queue] = own
    monkeypatch.setattr(claims, "is_exiting", lambda: True)
    one_heartbeat._run()


def test_flow_may_outlive_the_main_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    end = threading.Event()
    main, flow = threading.Thread(), threading.Thread(target=end.wait)
    heartbeats = threading.Thread(target=end.wait, daemon=True)
    flow.start()
    heartbeats.start()
    threads = SimpleNamespace(
        main_thread=lambda: main, enumerate=lambda: [main, flow, heartbeats]
    )
    monkeypatch.setattr(context, "threading", threads)
    is_early = context.is_exiting()
    end.set()
    flow.join()
    assert (is_early, context.is_exiting()) == (False, True)


def test_claim_outlives_silence_of_the_api(
    queue: tej.RemoteQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: object) -> None:
        raise RuntimeError("The API does not reply")

    monkeypatch.setattr(claims, "get_client", fail)
    assert not claims._Own(queue, "/", uuid4()).has_ended()


def test_claims_work_after_a_fork(
    prefect_server: str, queue: tej.RemoteQueue, job: object, one_heartbeat: Claims
) -> None:
    run = queue.ensure(job("exit 0"))  # type: ignore[operator]
    # In the child, the lock may be that of a thread which exists only in the parent.
    one_heartbeat._lock.acquire()
    one_heartbeat._pid = -1
    stage = str(run.status().directory)
    flow_run_id = flow_run_in(Running())
    one_heartbeat.add(flow_run_id, queue, stage, [run.id])
    assert [claim.flow_runs for claim in read_claims(queue, stage)] == [(flow_run_id,)]
    one_heartbeat.withdraw(flow_run_id)


def test_jobs_of_interrupted_submission_are_killed(
    prefect_server: str, local: TejDestination, queue: tej.RemoteQueue
) -> None:
    task_run_id, cancelled = uuid4(), uuid4()
    names = {"kill": {}, "leave": LEAVE_LABEL, "other": {"prefect-task-run": "x"}}
    runs = {
        name: TejJob(
            destination=local,
            script="sleep 600",
            environment={"NAME": name},
            labels={"prefect-task-run": str(task_run_id), **labels},
        ).trigger()
        for name, labels in names.items()
    }
    guard = CancellationGuard()
    guard.run = Run(cancelled, task_run_id)
    # The connection was lost before the server replied with the ids of the jobs.
    guard.submitting = local
    counts = guard._kill_jobs([cancelled])
    states = {name: str(run.status().state) for name, run in runs.items()}
    assert states == {"kill": "killed", "leave": "running", "other": "running"}
    assert str(counts) == "1 jobs killed"
    queue.kill_many([run.job_id for run in runs.values()])
