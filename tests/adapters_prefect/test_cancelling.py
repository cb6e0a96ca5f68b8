"""A cancelled flow run's jobs are killed; an interrupted process leaves them."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jobs import wait_until
from prefect.deployments import run_deployment

import tej
from tej_prefect.claims import EXPIRY
from tests.adapters_prefect.processes import (
    SOON,
    Process,
    all_are,
    cancel,
    flow_run_of,
    flow_runs_of,
    read,
    running,
    states,
    task_states,
)
from tests.queue.conftest import watched

KINDS = {"direct": 1, "mapped": 3, "batch": 3, "asynchronous": 3, "as-each-says": 3}


class Case:
    """One flow run, in a queue of its own."""

    def __init__(self, folder: Path, kind: str, name: str | None = None) -> None:
        self.kind = kind
        name = name or kind
        self.path = folder / f"queue-{name}"
        self.queue = tej.RemoteQueue("local:", str(self.path), "default")
        self.gate = folder / f"gate-{name}"
        self.log = folder / f"log-{name}"
        self.number = KINDS.get(kind, 1)

    def until_it_runs(self) -> None:
        def said() -> str:
            return self.log.read_text() if self.log.exists() else ""

        try:
            wait_until(running(self.queue, self.number), f"{self.kind}: all jobs run")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{states(self.queue)}\n{said()}") from None


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Callable[[str], Case]]:
    with contextlib.ExitStack() as stack:

        def make(kind: str, name: str | None = None) -> Case:
            made = Case(tmp_path, kind, name)
            stack.enter_context(watched(made.path))
            return made

        yield make


@pytest.fixture
def start(prefect_server: str) -> Iterator[Callable[..., Process]]:
    """Runs a case's flow in a process of its own, as a script does."""
    with contextlib.ExitStack() as stack:

        def start_(case: Case, *more: str) -> Process:
            words = (case.kind, str(case.path), str(case.gate), *more)
            process = Process(case.log, prefect_server, *words)
            return stack.enter_context(process)

        yield start_


def test_cancelled_deployment_run_kills_its_jobs(
    served: Process, case: Callable[[str], Case]
) -> None:
    cases = [case(kind) for kind in ("direct", "mapped", "asynchronous")]
    for one in cases:
        parameters = {"queue": str(one.path), "gate": str(one.gate)}
        run_deployment(f"{one.kind}/test", parameters=parameters, timeout=0)
    for one in cases:
        one.until_it_runs()
    runs = [flow_run_of(str(one.path)) for one in cases]
    for run in runs:
        cancel(run.id)
    for one in cases:
        wait_until(
            lambda: all_are(one.queue, "killed"), f"{one.kind}: jobs killed", SOON
        )
    for run in runs:
        wait_until(
            lambda: read(run.id).state_type == "CANCELLED", f"{run.name} is cancelled"
        )


def test_cancelled_run_without_deployment_kills_its_jobs(
    case: Callable[[str], Case], start: Callable[..., Process]
) -> None:
    cases = [case(kind) for kind in ("mapped", "outer")]
    processes = [start(one) for one in cases]
    for one in cases:
        one.until_it_runs()
    runs = [flow_run_of(str(one.path)) for one in cases]
    for run in runs:
        cancel(run.id)
    for one in cases:
        wait_until(
            lambda: all_are(one.queue, "killed"), f"{one.kind}: jobs killed", SOON
        )
    for process in processes:
        wait_until(process.ended, "the process ends", SOON)
    for one, run in zip(cases, runs, strict=True):
        assert read(run.id).state_type == "CANCELLED", one.kind
    mapped = runs[0].id
    wait_until(lambda: task_states(mapped) == {"Cancelled"}, "the tasks are cancelled")


def test_interrupted_process_leaves_jobs_to_next_run(
    case: Callable[..., Case], start: Callable[..., Process]
) -> None:
    cases = {
        signal.SIGINT: case("mapped", "interrupted"),
        signal.SIGTERM: case("mapped", "terminated"),
        signal.SIGKILL: case("batch"),
    }
    processes = {number: start(one) for number, one in cases.items()}
    for one in cases.values():
        one.until_it_runs()
    for number, process in processes.items():
        process.send(number)
    for number, process in processes.items():
        wait_until(process.ended, f"the process ends with {number!r}", SOON)
        assert all_are(cases[number].queue, "running"), number
    killed = cases[signal.SIGKILL]
    again = start(killed)
    wait_until(lambda: len(flow_runs_of(str(killed.path))) == 2, "the second run")
    for one in cases.values():
        one.gate.touch()
    wait_until(again.ended, "the new run ends")
    assert again.popen.returncode == 0, again.log.read_text()
    assert [job.attempt for job in killed.queue.jobs()] == [1, 1, 1]


def test_on_cancel_leave_keeps_jobs_running(
    case: Callable[[str], Case], start: Callable[..., Process]
) -> None:
    one = case("batch")
    process = start(one, "leave")
    one.until_it_runs()
    cancel(flow_run_of(str(one.path)).id)
    wait_until(process.ended, "the process ends", SOON)
    assert all_are(one.queue, "running")
    assert '0 jobs killed, 3 left running (on_cancel="leave")' in words_of(process)


def test_on_cancel_applies_to_each_job(
    case: Callable[..., Case], start: Callable[..., Process]
) -> None:
    cases = {"": case("as-each-says", "each"), "kill": case("as-each-says", "all")}
    processes = {word: start(one, word) for word, one in cases.items()}
    for one in cases.values():
        one.until_it_runs()
        cancel(flow_run_of(str(one.path)).id)
    for process in processes.values():
        wait_until(process.ended, "the process ends", SOON)
    assert sorted(states(cases[""].queue)) == ["killed", "killed", "running"]
    assert states(cases["kill"].queue) == ["killed"] * 3


def test_shared_job_is_killed_by_last_cancellation(
    case: Callable[[str], Case], start: Callable[..., Process]
) -> None:
    one = case("batch")
    first = start(one)
    one.until_it_runs()
    first_run = flow_run_of(str(one.path))
    one.log = one.log.with_name("log of the second")
    second = start(one)
    wait_until(lambda: b"0 jobs started, 3 found" in second.log.read_bytes(), "found")
    wait_until(lambda: len(claim_files(one)) == 2, "the second claims the jobs")
    cancel(first_run.id)
    wait_until(first.ended, "the first ends", SOON)
    assert all_are(one.queue, "running")
    assert "0 jobs killed, 3 left running (wanted by flow run" in words_of(first)
    (second_run,) = [
        run for run in flow_runs_of(str(one.path)) if run.id != first_run.id
    ]
    cancel(second_run.id)
    wait_until(lambda: all_are(one.queue, "killed"), "jobs killed", SOON)
    wait_until(second.ended, "the second ends", SOON)


def test_claims_of_dead_process_do_not_count(
    case: Callable[[str], Case], start: Callable[..., Process]
) -> None:
    one = case("batch")
    crashed = start(one)
    one.until_it_runs()
    wait_until(lambda: len(claim_files(one)) == 1, "it claims its jobs")
    crashed.send(signal.SIGKILL)
    wait_until(crashed.ended, "the process is dead")
    (stale,) = claim_files(one)
    os.utime(stale, times=(stale.stat().st_atime, stale.stat().st_mtime - EXPIRY - 1))
    again = start(one)
    wait_until(lambda: len(claim_files(one)) == 2, "the next run claims the jobs")
    cancel(flow_runs_of(str(one.path))[1].id)
    wait_until(lambda: all_are(one.queue, "killed"), "jobs killed", SOON)
    wait_until(again.ended, "the process ends", SOON)
    assert "The flow run was cancelled: 3 jobs killed" in words_of(again)


def claim_files(case: Case) -> list[Path]:
    return [*case.path.glob("claims/[!.]*")]


def words_of(process: Process) -> str:
    """A process's log without line breaks."""
    return " ".join(process.log.read_text().split())
