"""Cancellation kills jobs that no other flow run claims; an interruption kills none."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import get_client
from prefect.states import Cancelled, Completed, Running, Scheduled

import tej
from tej_prefect import claims
from tej_prefect.cancellation_poller import CancellationPoller
from tej_prefect.flow_run_cancellation import KillCounts, kill_unclaimed
from tests.adapters_prefect import flows
from tests.adapters_prefect.flow_processes import (
    FlowThread,
    Process,
    all_are,
    cancel,
    flow_run_in,
    flow_run_of,
    message_of,
    read,
    running,
    states,
    task_states,
    wait_until,
)
from tests.queue.conftest import watched

pytestmark = pytest.mark.usefixtures("prefect_server")


class Case:
    """A flow with its own queue, of which the test creates flow runs."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"queue-{name}"
        self.queue = tej.RemoteQueue("local:", str(self.path), "default")
        self.gate = folder / f"gate-{name}"
        self.words = (str(self.path), str(self.gate))

    def claims(self) -> list[Path]:
        return [*self.path.glob("claims/[!.]*")]


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Callable[[str], Case]]:
    with contextlib.ExitStack() as stack:

        def make(name: str) -> Case:
            made = Case(tmp_path, name)
            stack.enter_context(watched(made.path))
            return made

        yield make


def test_cancelled_run_kills_its_jobs(case: Callable[[str], Case]) -> None:
    kinds = {"mapped": 3, "outer": 1, "asynchronous": 3}
    cases = {kind: case(kind) for kind in kinds}
    threads = [
        FlowThread(lambda: flows.mapped(*cases["mapped"].words)),
        FlowThread(lambda: flows.outer(*cases["outer"].words)),
        FlowThread(
            lambda: asyncio.run(flows.asynchronous(*cases["asynchronous"].words))
        ),
    ]
    for kind, number in kinds.items():
        wait_until(running(cases[kind].queue, number), f"{kind}: all jobs run")
    runs = {kind: flow_run_of(one.path).id for kind, one in cases.items()}
    for flow_run_id in runs.values():
        cancel(flow_run_id)
    for kind, one in cases.items():
        wait_until(lambda: all_are(one.queue, "killed"), f"{kind}: jobs are killed")
    for thread in threads:
        wait_until(thread.ended, "the flow ends")
    for kind, flow_run_id in runs.items():
        assert read(flow_run_id).state_type == "CANCELLED", kind
    wait_until(
        lambda: task_states(runs["mapped"]) == {"Cancelled"}, "the tasks are cancelled"
    )


def test_on_cancel_leave_wins_over_kill(case: Callable[[str], Case]) -> None:
    one = case("mixed")
    first = FlowThread(lambda: flows.mixed(*one.words))
    wait_until(running(one.queue, 4), "all jobs run")
    flow_run_id = flow_run_of(one.path).id
    cancel(flow_run_id)
    wait_until(first.ended, "the flow ends")
    assert states(one.queue) == ["killed", "running", "running", "running"]
    message = '1 jobs killed, 3 left running (on_cancel="leave")'
    assert message in message_of(flow_run_id)
    # The argument of the task applies to all jobs.
    second = FlowThread(lambda: flows.mixed(*one.words, on_cancel="kill"))
    wait_until(running(one.queue, 4), "the killed job is started again")
    wait_until(lambda: flow_run_of(one.path).id != flow_run_id, "the second run")
    cancel(flow_run_of(one.path).id)
    wait_until(second.ended, "the flow ends")
    assert all_are(one.queue, "killed")


def test_shared_job_is_killed_by_last_cancellation(
    case: Callable[[str], Case],
) -> None:
    one = case("batch")
    first = FlowThread(lambda: flows.batch(*one.words))
    wait_until(running(one.queue, 3), "all jobs run")
    first_run = flow_run_of(one.path).id
    second = FlowThread(lambda: flows.batch(*one.words))
    wait_until(lambda: len(one.claims()) == 2, "both flow runs claim the jobs")
    second_run = flow_run_of(one.path).id
    cancel(first_run)
    wait_until(first.ended, "the first flow ends")
    assert all_are(one.queue, "running")
    message = message_of(first_run)
    assert f"0 jobs killed, 3 left running (claimed by flow run {second_run}" in message
    cancel(second_run)
    wait_until(second.ended, "the second flow ends")
    assert all_are(one.queue, "killed")
    assert "The flow run was cancelled: 3 jobs killed" in message_of(second_run)
    assert one.claims() == []


def test_only_live_claims_keep_jobs(
    queue: tej.RemoteQueue,
    queue_path: Path,
    job: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    directory = job("sleep 600")
    run = queue.ensure(directory)
    stage = str(run.status().directory)
    parent, mine = flow_run_in(Cancelled()), uuid4()

    def kill(**other: object) -> str:
        counts = KillCounts()
        kill_unclaimed(queue, [run.id], [mine], counts)
        return str(counts)

    def claim(*flow_runs: UUID, age: float = 0) -> str:
        """Return the decision about the job if the given flow runs claim the job."""
        claims._write(queue, stage, "other", flow_runs, [run.id])
        path = queue_path / "claims/other"
        os.utime(path, times=(0, path.stat().st_mtime - age))
        return kill()

    live = flow_run_in(Running())
    left = f"0 jobs killed, 1 left running (claimed by flow run {live}"
    assert claim(live).startswith(left)
    assert claim(live, age=claims.EXPIRY - 60).startswith(left)
    assert "left running" in claim(uuid4()), "a flow run of another API"
    with monkeypatch.context() as patch:

        def fail(**_: object) -> None:
            raise RuntimeError("The API does not reply")

        patch.setattr(claims, "get_client", fail)
        assert "0 jobs killed, 1 left running (their claims" in claim(live)
    with monkeypatch.context() as patch:

        def lose(*_: object, **__: object) -> bytes:
            raise tej.ConnectionFailed("The connection is lost")

        patch.setattr(queue, "shell", lose)
        assert kill() == "0 jobs killed, 1 unreachable and possibly still running"
    assert run.status().state == "running"
    for flow_runs in ([flow_run_in(Completed())], [live, parent], [live, mine]):
        assert claim(*flow_runs) == "1 jobs killed"
        queue.ensure(directory, retry=True)
    assert claim(live, age=claims.EXPIRY + 1) == "1 jobs killed"


def test_poll_survives_deleted_and_retried_runs() -> None:
    deleted, other = uuid4(), flow_run_in(Cancelled())
    poller = CancellationPoller()
    for flow_run_id in (deleted, other):
        poller.watch(flow_run_id)
    poller._poll([deleted, other])
    assert [poller.is_cancelled(one) for one in (deleted, other)] == [False, True]
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(other, Scheduled(), force=True)
    poller._poll([deleted, other])
    assert not poller.is_cancelled(other)
    for flow_run_id in (deleted, other):
        poller.unwatch(flow_run_id)


def test_interrupted_process_leaves_jobs_to_next_run(
    case: Callable[[str], Case], prefect_server: str, tmp_path: Path
) -> None:
    cases = {number: case(number.name) for number in (signal.SIGINT, signal.SIGTERM)}
    with contextlib.ExitStack() as stack:
        processes = {
            number: stack.enter_context(
                Process(tmp_path / number.name, prefect_server, "mapped", *one.words)
            )
            for number, one in cases.items()
        }
        for one in cases.values():
            wait_until(running(one.queue, 3), "all jobs run")
        for number, process in processes.items():
            process.interrupt(number)
        for number, process in processes.items():
            wait_until(process.ended, f"the process ends with {number!r}")
            assert all_are(cases[number].queue, "running"), number
    one = cases[signal.SIGINT]
    again = FlowThread(lambda: flows.mapped(*one.words))
    wait_until(lambda: len(one.claims()) == 2, "the next run claims the jobs")
    for other in cases.values():
        other.gate.touch()
    wait_until(again.ended, "the next run ends")
    assert again.error is None
    assert [job.attempt for job in one.queue.jobs()] == [1, 1, 1]
