"""Claims on the job's server: written, read, and their ages."""

from __future__ import annotations

import contextlib
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
from tej_prefect.claims import EXPIRY, Claims, read_claims
from tej_prefect.context import Run
from tej_prefect.flow_run_cancellation import LEAVE_LABEL, CancellationGuard
from tests.adapters_prefect.flow_processes import flow_run_in, wait_until


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
    """Ends the renewal of a claim."""


class Heartbeats(Claims):
    """Claims that are renewed only by `beat`, and not in threads."""

    pauses: Iterator[object]

    def _renew(self, own: claims._OwnClaim) -> None: ...

    def _await_end(self, own: claims._OwnClaim) -> None:
        own.has_ended()

    def beat(self) -> None:
        """Send one heartbeat for each claim, and remove the claims of ended flow runs."""
        for own in [*self._own.values()]:
            for step, pauses in ((super()._renew, [None]), (super()._await_end, [])):
                self.pauses = iter(pauses)
                with contextlib.suppress(Over):
                    step(own)


@pytest.fixture
def heartbeats(monkeypatch: pytest.MonkeyPatch) -> Heartbeats:
    """Claims whose method `beat` sends one heartbeat for each claim."""
    made = Heartbeats()

    def sleep(seconds: float) -> None:
        if threading.current_thread() is not threading.main_thread():
            # The heartbeat thread of an earlier test calls this function, too.
            time.sleep(seconds)
            return
        assert seconds < EXPIRY / 3
        if next(made.pauses, Over) is Over:
            raise Over

    monkeypatch.setattr(claims, "time", SimpleNamespace(sleep=sleep))
    return made


def test_heartbeats_end_with_their_flow_run(
    prefect_server: str,
    queue: tej.RemoteQueue,
    queue_path: Path,
    job: object,
    heartbeats: Heartbeats,
) -> None:
    run = queue.ensure(job("exit 0"))  # type: ignore[operator]
    stage = str(run.status().directory)
    live, ended = flow_run_in(Running()), flow_run_in(Completed())
    for flow_run_id in (live, ended):
        heartbeats.add(flow_run_id, queue, stage, [run.id])
    for path in (queue_path / "claims").iterdir():
        os.utime(path, times=(0, 0))
    heartbeats.beat()
    (claim,) = read_claims(queue, stage)
    assert claim.flow_runs == (live,)
    assert claim.is_live


def test_heartbeats_do_not_wait_for_another_server(
    prefect_server: str,
    queue: tej.RemoteQueue,
    queue_path: Path,
    job: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = str(queue.ensure(job("exit 0")).status().directory)  # type: ignore[operator]
    silent = tej.RemoteQueue("local:", str(queue_path), "default")
    shell, is_waiting, reply = silent.shell, threading.Event(), threading.Event()

    def wait(*arguments: object, **options: object) -> bytes:
        is_waiting.set()
        reply.wait()
        return shell(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(claims, "PERIOD", 0.1)
    made, flow_run_id = Claims(), flow_run_in(Running())
    made.add(flow_run_id, silent, stage, ["a"])
    monkeypatch.setattr(silent, "shell", wait)
    made.add(flow_run_id, queue, stage, ["b"])
    try:
        wait_until(is_waiting.is_set, "the server does not reply")
        for path in (queue_path / "claims").iterdir():
            os.utime(path, times=(0, 0))
        wait_until(
            lambda: [one.is_live for one in read_claims(queue, stage)].count(True) == 1,
            "the other claim is renewed",
        )
    finally:
        reply.set()
        made.withdraw(flow_run_id)


def test_heartbeats_do_not_wait_for_the_api(
    queue: tej.RemoteQueue,
    queue_path: Path,
    job: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = str(queue.ensure(job("exit 0")).status().directory)  # type: ignore[operator]
    end, timeouts = threading.Event(), []

    def wait(**_: object) -> None:
        end.wait(300)
        timeouts.append("The API does not reply")
        raise RuntimeError(timeouts[-1])

    monkeypatch.setattr(claims, "PERIOD", 0.1)
    monkeypatch.setattr(claims, "get_client", wait)
    made, flow_run_id = Claims(), uuid4()
    made.add(flow_run_id, queue, stage, ["a"])
    try:
        for path in (queue_path / "claims").iterdir():
            os.utime(path, times=(0, 0))
        wait_until(
            lambda: any(one.is_live for one in read_claims(queue, stage)),
            "the claim is renewed",
        )
        made.add(flow_run_id, queue, stage, ["b"])
        (claim,) = read_claims(queue, stage)
        assert (claim.jobs, timeouts) == ({"a", "b"}, [])
    finally:
        end.set()
        made.withdraw(flow_run_id)


def test_exiting_process_sends_no_heartbeat(
    queue: tej.RemoteQueue, heartbeats: Heartbeats, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start_server(**_: object) -> None:
        raise AssertionError("Prefect would start a temporary server")

    own = claims._OwnClaim(queue, "/", uuid4())
    monkeypatch.setattr(own, "has_ended", start_server)
    heartbeats._own[own.flow_run_id, queue] = own
    monkeypatch.setattr(claims, "is_exiting", lambda: True)
    heartbeats.beat()


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
    assert not claims._OwnClaim(queue, "/", uuid4()).has_ended()


def test_claims_work_after_a_fork(
    prefect_server: str, queue: tej.RemoteQueue, job: object, heartbeats: Heartbeats
) -> None:
    run = queue.ensure(job("exit 0"))  # type: ignore[operator]
    # In the child, the lock may be that of a thread which exists only in the parent.
    heartbeats._lock.acquire()
    heartbeats._pid = -1
    stage = str(run.status().directory)
    flow_run_id = flow_run_in(Running())
    heartbeats.add(flow_run_id, queue, stage, [run.id])
    assert [claim.flow_runs for claim in read_claims(queue, stage)] == [(flow_run_id,)]
    heartbeats.withdraw(flow_run_id)


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
