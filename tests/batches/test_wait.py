"""Waiting for jobs, over one channel, even if connections are lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from jobs import Gate, end_processes_of, wait_until, wait_until_reached
from servers.proxy import Proxy

import tej
from tej import JobState

if TYPE_CHECKING:
    from tests.batches.conftest import RoundTrips
    from tests.faults.clients import Client

Make = Callable[..., Path]
SOON = tej.Retries(limit=4, first=0.01, longest=0.05)


class Waiting:
    """A call of `wait` in a separate thread."""

    def __init__(self, wait: Callable[[], object]) -> None:
        self.result: object = None
        self._wait = wait
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.result = self._wait()
        except tej.Error as error:
            self.result = error

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive()

    def finish(self) -> object:
        self._thread.join(60)
        assert self.is_over
        return self.result


def run_jobs(queue: tej.RemoteQueue, directory: Path, names: list[str]) -> list[str]:
    return [
        one.job_id
        for one in queue.submit_many(tej.JobSpec(directory, job_id=n) for n in names)
    ]


# Results of `wait`


def test_wait_returns_statuses_in_requested_order(
    queue: tej.RemoteQueue, job: Make
) -> None:
    queue.submit("good", job("true", name="good"))
    queue.submit("bad", job("exit 3", name="bad"))
    ended = queue.wait(["good", "bad", "good"])
    assert [*ended] == ["good", "bad"]
    assert ended["good"].succeeded
    assert ended["bad"].exit_code == 3


def test_wait_for_no_job_sends_no_request(local_queue: tej.RemoteQueue) -> None:
    assert local_queue.wait([]) == {}
    assert [*tej.as_completed([])] == []


def test_ended_jobs_are_reported_in_one_round_trip(
    queue: tej.RemoteQueue, job: Make, round_trips: RoundTrips
) -> None:
    ids = run_jobs(queue, job("true"), ["a", "b", "c"])
    queue.wait(ids)
    round_trips()
    queue.wait(ids)
    assert round_trips() == 1


def test_as_completed_yields_in_order_of_end(
    queue: tej.RemoteQueue, job: Make, tmp_path: Path
) -> None:
    gates = {name: Gate(tmp_path / f"open {name}") for name in ("a", "b", "c")}
    for name, gate in gates.items():
        queue.submit(name, job(gate.wait, name=name))
    seen = []
    gates["b"].open()
    for job_id, status in queue.as_completed(gates):
        seen.append(job_id)
        assert status.state.final
        {"b": gates["c"], "c": gates["a"], "a": gates["a"]}[job_id].open()
    assert seen == ["b", "c", "a"]


def test_jobs_of_several_queues_are_awaited_together(
    local_queue: tej.RemoteQueue, job: Make, gate: Gate, tmp_path: Path
) -> None:
    other = tej.RemoteQueue("local:", str(tmp_path / "other"), "default")
    try:
        first = local_queue.ensure(job(gate.wait, name="late"), job_id="late")
        second = other.ensure(job("true", name="early"), job_id="early")
        seen = []
        for handle, status in tej.as_completed([first, second]):
            assert status.succeeded
            seen.append(handle)
            gate.open()
        assert seen == [second, first]
    finally:
        gate.open()
        other.cleanup(kill=True, grace=0)


def test_wait_for_missing_job_is_an_error(queue: tej.RemoteQueue, waiting: str) -> None:
    with pytest.raises(tej.JobNotFound, match="No job 'absent'"):
        queue.wait([waiting, "absent"])


def test_deletion_during_wait_is_an_error(
    local_queue: tej.RemoteQueue, job: Make, gate: Gate
) -> None:
    local_queue.submit("short", job(gate.wait))
    waiting = Waiting(lambda: local_queue.wait(["short"]))
    other = tej.RemoteQueue("local:", str(local_queue.queue))
    other.kill("short", grace=0)
    other.delete("short")
    result = waiting.finish()
    # The wait notices either the end of the job or its deletion.
    assert isinstance(result, dict | tej.JobNotFound)


def test_wait_times_out_and_job_continues(
    queue: tej.RemoteQueue, waiting: str, gate: Gate
) -> None:
    with pytest.raises(tej.WaitTimeout, match="job 'waiting' has not ended"):
        queue.wait([waiting], timeout=0.2)
    assert queue.status(waiting).state is JobState.RUNNING
    with pytest.raises(TimeoutError):
        queue.job(waiting).wait(timeout=0)
    gate.open()
    assert queue.wait([waiting])[waiting].exit_code == 3


def test_ended_job_is_reported_while_others_run(
    queue: tej.RemoteQueue, waiting: str, job: Make
) -> None:
    queue.submit("done", job("true", name="done"))
    queue.wait(["done"])
    ends = queue.as_completed([waiting, "done"], timeout=60)
    assert next(ends)[0] == "done"
    assert queue.status(waiting).state is JobState.RUNNING


def test_killed_job_ends_the_wait(queue: tej.RemoteQueue, waiting: str) -> None:
    waiter = Waiting(lambda: queue.job(waiting).wait())
    queue.kill(waiting, grace=5)
    status = waiter.finish()
    assert isinstance(status, tej.JobStatus)
    assert status.state is JobState.KILLED


def test_lost_job_ends_the_wait(
    local_queue: tej.RemoteQueue, job: Make, gate: Gate, queue_path: Path
) -> None:
    local_queue.submit("lost", job(gate.wait))
    wait_until(
        lambda: local_queue.status("lost").state is JobState.RUNNING, "the job runs"
    )
    # Kill only the job's processes: the wait is also a process of the queue, and starts
    # later.
    end_processes_of(queue_path)
    status = local_queue.wait(["lost"])["lost"]
    assert status.state is JobState.LOST
    assert status.evidence


# One channel for all waits


def test_200_threads_wait_over_one_channel(
    queue: tej.RemoteQueue, job: Make, gate: Gate, round_trips: RoundTrips
) -> None:
    ids = run_jobs(queue, job(gate.wait), [f"job{n}" for n in range(5)])
    round_trips()
    barrier = threading.Barrier(201)

    def wait(number: int) -> tej.JobStatus:
        barrier.wait()
        return queue.job(ids[number % 5]).wait()

    waiting = [Waiting(lambda n=n: wait(n)) for n in range(200)]  # type: ignore[misc]
    barrier.wait()
    watchers = [one for one in threading.enumerate() if one.name == "tej wait"]
    wait_until(lambda: queue.watcher._requested == set(ids), "all jobs are requested")
    assert len(watchers) <= 1
    gate.open()
    results = [one.finish() for one in waiting]
    assert all(isinstance(one, tej.JobStatus) and one.succeeded for one in results)
    # The requests run one after the other, and never one per thread.
    assert round_trips() < 10


def test_later_waits_join_the_channel(
    queue: tej.RemoteQueue, job: Make, tmp_path: Path
) -> None:
    gates = [Gate(tmp_path / f"open {n}") for n in range(3)]
    for number, gate in enumerate(gates):
        queue.submit(f"job{number}", job(gate.wait, name=f"job{number}"))
    waiting = []
    for number in range(3):
        waiting.append(Waiting(lambda n=number: queue.job(f"job{n}").wait()))  # type: ignore[misc]
        wait_until(
            lambda n=number: f"job{n}" in queue.watcher._requested,
            "the job is requested",
        )  # type: ignore[misc]
    assert [one.name for one in threading.enumerate()].count("tej wait") == 1
    for gate, one in zip(reversed(gates), reversed(waiting), strict=True):
        assert not one.is_over
        gate.open()
        assert isinstance(one.finish(), tej.JobStatus)
    wait_until(
        lambda: "tej wait" not in [one.name for one in threading.enumerate()],
        "nobody waits any more",
    )


def test_cancelled_wait_does_not_affect_others(
    queue: tej.RemoteQueue, waiting: str, gate: Gate
) -> None:
    stays = Waiting(lambda: queue.job(waiting).wait())
    for _ in range(3):
        with pytest.raises(tej.WaitTimeout):
            queue.job(waiting).wait(timeout=0.05)
    assert not stays.is_over
    gate.open()
    status = stays.finish()
    assert isinstance(status, tej.JobStatus)
    assert status.exit_code == 3


def test_error_between_two_ends_is_raised(
    local_queue: tej.RemoteQueue,
    job: Make,
    waiting_locally: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    local_queue.submit("done", job("true", name="done"))
    ends = local_queue.as_completed([waiting_locally, "done"])
    assert next(ends)[0] == "done"
    # While the caller handles the first end, the server becomes unable to respond.
    local_queue.watcher._fail(tej.RemoteCommandFailure("the disk is full"))
    with pytest.raises(tej.RemoteCommandFailure, match="the disk is full"):
        next(ends)


@pytest.fixture
def waiting_locally(
    local_queue: tej.RemoteQueue, job: Make, gate: Gate
) -> Iterator[str]:
    yield local_queue.submit("waiting", job(gate.wait, name="waiting job"))
    gate.open()


# Lost connections


@pytest.fixture
def behind(
    through: Callable[..., tej.RemoteQueue], job: Make, gate: Gate
) -> tej.RemoteQueue:
    """Return a queue behind the proxy, with a job "far" that waits at the gate."""
    queue = through(SOON)
    queue.submit("far", job(gate.wait, name="far job"))
    return queue


def wait_behind(queue: tej.RemoteQueue, proxy: Proxy) -> Waiting:
    """Start a wait for the job "far", and return when the server runs the request."""
    runs = queue.transport.runs  # type: ignore[attr-defined]
    waiting = Waiting(lambda: queue.job("far").wait())
    wait_until(lambda: queue.transport.runs > runs, "the job is requested")  # type: ignore[attr-defined]
    return waiting


def test_wait_continues_after_repeated_cuts(
    behind: tej.RemoteQueue, proxy: Proxy, gate: Gate
) -> None:
    waiting = wait_behind(behind, proxy)
    for _ in range(3):
        runs = behind.transport.runs  # type: ignore[attr-defined]
        proxy.cut()
        wait_until(lambda: behind.transport.runs > runs, "the wait is repeated")  # type: ignore[attr-defined]
    assert not waiting.is_over
    gate.open()
    status = waiting.finish()
    assert isinstance(status, tej.JobStatus)
    assert status.succeeded


def test_wait_continues_after_refused_connections(
    behind: tej.RemoteQueue, proxy: Proxy, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    waiting = wait_behind(behind, proxy)
    with caplog.at_level("INFO", "tej"):
        proxy.refuse()
        proxy.cut()
        # The number of cuts is larger than the number of attempts of other requests.
        wait_until(
            lambda: caplog.text.count("still waiting") > 6, "many attempts were made"
        )
    gate.open()
    assert not waiting.is_over
    proxy.accept()
    status = waiting.finish()
    assert isinstance(status, tej.JobStatus)
    assert status.succeeded


def test_wait_continues_after_silent_connection(
    through: Callable[..., tej.RemoteQueue], proxy: Proxy, job: Make, gate: Gate
) -> None:
    through().submit("far", job(gate.wait))
    queue = through(SOON, io_timeout=1.5, keep_alive=0.3)
    wait_until_reached(queue)
    waiting = wait_behind(queue, proxy)
    connections = proxy.connections
    # As after a laptop's sleep, the open connection is dead, but no side has closed it.
    proxy.freeze()
    gate.open()
    status = waiting.finish()
    assert isinstance(status, tej.JobStatus)
    assert status.succeeded
    assert proxy.connections > connections


def test_job_continues_if_waiting_client_dies(
    client: Callable[[str], Client],
    local_queue: tej.RemoteQueue,
    job: Make,
    gate: Gate,
    tmp_path: Path,
) -> None:
    directory = job(f"{gate.wait}; echo 42 >results")
    doomed = client(
        f"handle = queue.ensure({str(directory)!r})\npause()\nhandle.wait()"
    )
    doomed.wait_for_pause()
    doomed.go_on()
    handle = local_queue.ensure(directory)
    assert not handle.is_new
    doomed.kill()
    gate.open()
    assert handle.wait().succeeded
    (file,) = handle.download("results", directory=tmp_path / "out")
    assert file.read_text() == "42\n"


def test_on_tick_can_end_the_wait(
    queue: tej.RemoteQueue, job: Callable[..., Path], gate: Gate
) -> None:
    job_id = queue.submit("waiting", job(gate.wait))
    calls: list[int] = []

    class Enough(Exception):
        pass

    def meanwhile() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise Enough

    with pytest.raises(Enough):
        list(queue.as_completed([job_id], on_tick=meanwhile))
    assert queue.status(job_id).state == "running"
    gate.open()
    ((_, status),) = queue.as_completed([job_id], on_tick=lambda: calls.append(1))
    assert status.succeeded


def test_ended_job_is_reported_with_tiny_timeout(
    local_queue: tej.RemoteQueue, job: Make, gate: Gate
) -> None:
    local_queue.submit("ended", job("exit 3", name="ended"))
    assert local_queue.job("ended").wait().exit_code == 3
    assert local_queue.job("ended").wait(0).exit_code == 3
    local_queue.submit("runs", job(gate.wait))
    with pytest.raises(tej.WaitTimeout, match="runs"):
        local_queue.wait(["ended", "runs"], 0)
    for wrong in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="0 or more seconds"):
            local_queue.job("ended").wait(wrong)
    gate.open()
