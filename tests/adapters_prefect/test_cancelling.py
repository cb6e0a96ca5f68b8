"""A cancelled flow run's jobs are killed; an interrupted process leaves them."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jobs import wait_until
from prefect.deployments import run_deployment

import tej
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


def test_cancelling_a_deployments_run_kills_its_jobs_wherever_it_waits(
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


def test_cancelling_a_run_that_is_no_deployments_kills_its_jobs_too(
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


def test_an_interrupted_process_leaves_its_jobs_and_a_new_run_finds_them(
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


def test_jobs_can_be_left_when_the_run_is_cancelled(
    case: Callable[[str], Case], start: Callable[..., Process]
) -> None:
    one = case("batch")
    process = start(one, "leave")
    one.until_it_runs()
    cancel(flow_run_of(str(one.path)).id)
    wait_until(process.ended, "the process ends", SOON)
    assert all_are(one.queue, "running")
    assert "go on at" in process.log.read_text()


def test_each_job_of_a_batch_is_killed_or_left_as_it_says(
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


def test_a_job_that_two_runs_want_is_killed_when_the_last_one_is_cancelled(
    case: Callable[[str], Case], start: Callable[..., Process]
) -> None:
    one = case("batch")
    first = start(one)
    one.until_it_runs()
    first_run = flow_run_of(str(one.path))
    one.log = one.log.with_name("log of the second")
    second = start(one)
    wait_until(lambda: b"0 jobs started, 3 found" in second.log.read_bytes(), "found")
    wait_until(lambda: claims(second, one), "the second has said what it wants")
    cancel(first_run.id)
    wait_until(first.ended, "the first ends", SOON)
    assert all_are(one.queue, "running")
    assert "wants it" in first.log.read_text()
    (second_run,) = [
        run for run in flow_runs_of(str(one.path)) if run.id != first_run.id
    ]
    cancel(second_run.id)
    wait_until(lambda: all_are(one.queue, "killed"), "jobs killed", SOON)
    wait_until(second.ended, "the second ends", SOON)


def claims(process: Process, case: Case) -> bool:
    """Whether both runs of a case have said which jobs they want."""
    from tests.adapters_prefect.test_tasks import artifacts_of

    runs = flow_runs_of(str(case.path))
    return len(runs) == 2 and all("table" in artifacts_of(run.id) for run in runs)
