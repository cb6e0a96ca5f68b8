"""run_many: jobs from submission to results, with each error in its place."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jobs import Gate, wait_until

import tej
from tej import JobSpec, Run, RunResult
from tej.queue.fetch_results import Pauses, ResultFetcher

Make = Callable[..., Path]
SOON = tej.Retries(limit=2, first=0.01, longest=0.05)


def forks(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test that forks its own process."""
    # Python 3.12 and later warn about a fork in a process with threads, such as pytest's.
    ignore = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
    skip = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
    return ignore(skip(test))


@pytest.fixture
def queues(local_queue: tej.RemoteQueue, tmp_path: Path) -> list[tej.RemoteQueue]:
    """Two queues on this machine."""
    other = tej.RemoteQueue("local:", str(tmp_path / "other"), "default")
    return [local_queue, other]


def codes(results: Sequence[RunResult]) -> list[int | None]:
    return [one.status and one.status.exit_code for one in results]


def test_results_of_two_queues_are_in_order(
    queues: list[tej.RemoteQueue], job: Make, tmp_path: Path
) -> None:
    directory = job('echo "$CODE" >result; exit "$CODE"')
    heard: dict[str, list[Any]] = {"start": [], "end": [], "fetch": []}
    runs = [
        Run(
            queue,
            JobSpec(directory, environment={"CODE": code}),
            ["result"],
            tmp_path / "out",
            key=code,
        )
        for code in ("0", "3")
        for queue in queues
    ]
    runs.insert(1, Run(queues[0], JobSpec(tmp_path / "absent"), ["result"]))
    results = tej.run_many(
        runs,
        on_start=heard["start"].extend,
        on_end=heard["end"].extend,
        on_fetch=heard["fetch"].extend,
    )
    assert [one.run for one in results] == runs
    assert codes(results) == [0, None, 0, 3, 3]
    good = [one for one in results if one.succeeded]
    assert [path.read_text() for one in good for path in one.files] == ["0\n", "0\n"]
    kinds = [type(one.error) for one in results]
    assert kinds == [
        type(None),
        tej.InvalidJobDirectory,
        type(None),
        tej.JobFailed,
        tej.JobFailed,
    ]
    for what in heard.values():
        assert sorted(map(id, what)) == sorted(map(id, results))


def test_equal_work_is_one_job(local_queue: tej.RemoteQueue, job: Make) -> None:
    directory = job("echo x >>ran")
    runs = [Run(local_queue, JobSpec(directory)) for _ in range(3)]
    results = tej.run_many(runs)
    assert len({one.job for one in results}) == 1
    assert [one.is_new for one in results] == [True, False, False]
    again = tej.run_many(runs)
    assert all(one.succeeded and not one.is_new for one in again)


def test_spec_context_is_left_after_submission(
    local_queue: tej.RemoteQueue, job: Make
) -> None:
    events: list[str] = []

    @contextlib.contextmanager
    def stage() -> Iterator[JobSpec]:
        events.append("made")
        yield JobSpec(job("true"))
        events.append("left")

    def fail() -> contextlib.AbstractContextManager[JobSpec]:
        raise KeyError("template")

    good, bad = tej.run_many(
        [Run(local_queue, stage), Run(local_queue, fail)],
        on_start=lambda _: events.append("started"),
    )
    assert events == ["made", "left", "started"]
    assert good.succeeded
    assert isinstance(bad.error, KeyError)


def test_failed_job_is_retried_until_the_function_declines(
    local_queue: tej.RemoteQueue, job: Make, gate: Gate, tmp_path: Path
) -> None:
    first = Gate(tmp_path / "first")

    def is_retried(status: tej.JobStatus) -> bool:
        if status.attempt == 3:
            gate.open()
        return status.attempt < 3

    run = Run(
        local_queue,
        JobSpec(job(f"{first.wait}; echo out; exit 5")),
        ["_stdout"],
        retry=is_retried,
    )
    # The retries do not wait for the end of another job.
    other = Run(local_queue, JobSpec(job(gate.wait, name="other")))
    result, _ = tej.run_many([run, other], on_start=lambda _: first.open())
    assert result.job is not None
    assert result.status is not None
    assert (result.status.attempt, result.files) == (3, [])
    assert len(local_queue.attempts(result.job.id)) == 2


def test_shared_job_is_restarted_once_per_request(
    local_queue: tej.RemoteQueue, job: Make, tmp_path: Path
) -> None:
    spec = JobSpec(job("exit 5"))
    runs = [Run(local_queue, spec, retry=lambda one: one.attempt < 2) for _ in "123"]
    results = tej.run_many(runs)
    assert [one.status and one.status.attempt for one in results] == [2, 2, 2]
    # The second job does not exist, so that two requests are sent.
    absent = JobSpec(tmp_path / "absent")
    outcomes = local_queue.ensure_many([spec, absent, spec], retry=True)
    attempts = [one.status and one.status.attempt for one in outcomes]
    assert attempts == [3, None, 3]
    assert [one.is_new for one in outcomes] == [True, False, False]


def test_cut_during_a_restart_is_no_success(
    local_queue: tej.RemoteQueue,
    job: Make,
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ensure_many, cuts = local_queue.ensure_many, [0, 0]
    monkeypatch.setattr(local_queue.connection, "retries", SOON)

    def cut(specs: Any, *, retry: bool = False) -> list[tej.Outcome]:
        if retry and cuts:
            cuts.pop()
            raise tej.ConnectionFailed("cut")
        return ensure_many(specs, retry=retry)

    monkeypatch.setattr(local_queue, "ensure_many", cut)
    run = Run(
        local_queue,
        JobSpec(job(f"{gate.wait}; exit 5")),
        retry=lambda one: one.attempt < 2,
    )
    (result,) = tej.run_many([run], on_start=lambda _: gate.open())
    assert not cuts
    assert result.status is not None
    assert (result.status.attempt, result.succeeded) == (2, False)
    assert isinstance(result.error, tej.JobFailed)


def test_jobs_that_end_before_the_reply_are_restarted(
    local_queue: tej.RemoteQueue, job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure_many = local_queue.ensure_many

    def wait_for_ends(specs: Any, *, retry: bool = False) -> list[tej.Outcome]:
        outcomes = ensure_many(specs, retry=retry)
        ended = local_queue.wait([one.job_id for one in outcomes])
        return [replace(one, status=ended[one.job_id]) for one in outcomes]

    monkeypatch.setattr(local_queue, "ensure_many", wait_for_ends)
    run = Run(local_queue, JobSpec(job("exit 5")), retry=lambda one: one.attempt < 4)
    (result,) = tej.run_many([run])
    assert result.status is not None
    assert result.status.attempt == 4
    assert isinstance(result.error, tej.JobFailed)


def test_cut_restart_of_found_job_is_an_error(
    local_queue: tej.RemoteQueue, job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = JobSpec(job("exit 5"))
    tej.run_many([Run(local_queue, spec)])
    ensure_many = local_queue.ensure_many

    def cut(specs: Any, *, retry: bool = False) -> list[tej.Outcome]:
        if retry:
            raise tej.ConnectionFailed("cut")
        return ensure_many(specs, retry=retry)

    monkeypatch.setattr(local_queue, "ensure_many", cut)
    (result,) = tej.run_many([Run(local_queue, spec, retry=lambda _: True)])
    assert isinstance(result.error, tej.ConnectionFailed)
    assert result.job is None


def test_patient_batch_waits_for_an_unreachable_server(
    queues: list[tej.RemoteQueue], job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    away, near = queues
    away.setup()
    # The end of the other job is requested during the pauses of this queue.
    retries = tej.Retries(first=0.2, longest=0.5)
    monkeypatch.setattr(away.connection, "retries", retries)
    ensure_many = away.ensure_many
    spec = JobSpec(job("true"))
    refused: list[bool] = []

    def refuse(specs: Any, *, retry: bool = False) -> list[tej.Outcome]:
        # The job of the other queue ends while this server cannot be reached.
        over = bool(refused) and batch.results[1].succeeded
        refused.append(over)
        if not over:
            raise tej.ConnectionFailed("away")
        return ensure_many(specs, retry=retry)

    monkeypatch.setattr(away, "ensure_many", refuse)
    batch = tej.Batch([Run(away, spec), Run(near, spec)], patient=True)
    assert all(one.succeeded for one in batch.run())
    impatient = tej.Batch([Run(away, spec)])
    refused.clear()
    (result,) = impatient.run()
    assert isinstance(result.error, tej.ConnectionFailed)


def test_interrupted_batch_is_continued(
    local_queue: tej.RemoteQueue,
    job: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left = ["submit", "start", "end", "fetch"]

    def interrupt(stage: str) -> None:
        if stage in left:
            left.remove(stage)
            raise KeyboardInterrupt

    download_many = local_queue.download_many

    def download(*words: Any, **options: Any) -> dict[str, tej.Downloaded]:
        interrupt("fetch")
        return download_many(*words, **options)

    monkeypatch.setattr(local_queue, "download_many", download)
    run = Run(local_queue, JobSpec(job("echo x >result")), ["result"], tmp_path)
    batch = tej.Batch(
        [run],
        on_submit=lambda _: interrupt("submit"),
        on_start=lambda _: interrupt("start"),
        on_end=lambda _: interrupt("end"),
    )
    for method in (batch.start, batch.wait, batch.wait, batch.wait):
        with pytest.raises(KeyboardInterrupt):
            method()
    (result,) = batch.wait()
    assert result.succeeded
    assert [path.read_text() for path in result.files] == ["x\n"]


def test_kill_reports_an_interrupted_submission(
    local_queue: tej.RemoteQueue, job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    local_queue.setup()
    ensure_many = local_queue.ensure_many

    def lose_reply(specs: Any, *, retry: bool = False) -> list[tej.Outcome]:
        ensure_many(specs, retry=retry)
        batch.kill()
        raise tej.ConnectionFailed("cut")

    monkeypatch.setattr(local_queue, "ensure_many", lose_reply)
    batch = tej.Batch([Run(local_queue, JobSpec(job("true")))], patient=True)
    (result,) = batch.run()
    assert "unknown whether the job was started" in str(result.error)


def test_timeout_names_a_job_that_was_not_received(
    local_queue: tej.RemoteQueue, job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    local_queue.setup()

    def lose(*_: Any, **__: Any) -> None:
        raise tej.ConnectionFailed("away")

    monkeypatch.setattr(local_queue, "ensure_many", lose)
    batch = tej.Batch([Run(local_queue, JobSpec(job("true")))], patient=True)
    (result,) = batch.run(timeout=0)
    assert isinstance(result.error, tej.WaitTimeout)
    assert "has not confirmed" in str(result.error)


def test_cut_during_the_fetch_is_survived(
    local_queue: tej.RemoteQueue,
    job: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    download_many, cuts = local_queue.download_many, [0]
    monkeypatch.setattr(local_queue.connection, "retries", SOON)

    def cut(*arguments: Any, **options: Any) -> dict[str, tej.Downloaded]:
        if cuts:
            cuts.pop()
            raise tej.ConnectionFailed("cut")
        return download_many(*arguments, **options)

    monkeypatch.setattr(local_queue, "download_many", cut)
    run = Run(local_queue, JobSpec(job("echo x >result")), ["result"], tmp_path)
    (result,) = tej.run_many([run])
    assert result.succeeded
    assert result.files[0].read_text() == "x\n"


def test_unreachable_server_gets_one_fetch_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = tej.RemoteQueue("local:", str(tmp_path / "queue"), "default")
    monkeypatch.setattr(
        queue.connection, "retries", tej.Retries(first=600, longest=600)
    )
    requests: list[str] = []

    def lose(*_: Any, directory: Path) -> None:
        requests.append(directory.name)
        raise tej.ConnectionFailed("away")

    monkeypatch.setattr(queue, "download_many", lose)
    fetcher = ResultFetcher(Pauses(), lambda _: None)
    spec = JobSpec(tmp_path)
    fetcher.pending = [
        RunResult(Run(queue, spec, ["result"], tmp_path / name), queue.job(name))
        for name in ("first", "second")
    ]
    fetcher.fetch()
    assert requests == ["first"]
    assert len(fetcher.pending) == 2


def test_deleted_job_is_an_error_in_its_place(
    local_queue: tej.RemoteQueue, job: Make, gate: Gate
) -> None:
    def delete(results: Sequence[RunResult]) -> None:
        local_queue.kill("gone", grace=0)
        local_queue.delete("gone")

    runs = [
        Run(local_queue, JobSpec(job("true", name="stays"), job_id="stays")),
        Run(local_queue, JobSpec(job(gate.wait, name="gone"), job_id="gone")),
    ]
    stays, gone = tej.run_many(runs, on_start=delete)
    assert stays.succeeded
    assert isinstance(gone.error, tej.JobNotFound)


def test_timeout_leaves_the_job_running(
    local_queue: tej.RemoteQueue, job: Make, gate: Gate
) -> None:
    batch = tej.Batch([Run(local_queue, JobSpec(job(gate.wait)))])
    (result,) = batch.run(timeout=0.1)
    assert isinstance(result.error, tej.WaitTimeout)
    assert batch.count_states()["failed"] == 1
    gate.open()
    batch.wait()
    assert result.succeeded


def test_pending_jobs_are_killed_from_another_thread(
    local_queue: tej.RemoteQueue, job: Make, gate: Gate
) -> None:
    batch = tej.Batch([Run(local_queue, JobSpec(job(gate.wait)))])
    batch.start()
    killer = threading.Thread(target=batch.kill)
    killer.start()
    (result,) = batch.wait()
    killer.join()
    assert result.status is not None
    assert result.status.state is tej.JobState.KILLED


def test_kill_reaches_jobs_of_the_other_queue(
    queues: list[tej.RemoteQueue],
    job: Make,
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = JobSpec(job(gate.wait))
    batch = tej.Batch([Run(queue, spec) for queue in queues])
    batch.start()

    def lose(_: object) -> None:
        raise tej.ConnectionFailed("away")

    monkeypatch.setattr(queues[0], "kill_many", lose)
    with pytest.raises(tej.ConnectionFailed):
        batch.kill()
    gate.open()
    states = [one.status and one.status.state for one in batch.wait()]
    assert states == [tej.JobState.FINISHED, tej.JobState.KILLED]


@pytest.mark.parametrize(("cut", "held"), [(False, False), (True, False), (True, True)])
def test_kill_during_a_restart_ends_the_job(
    local_queue: tej.RemoteQueue,
    job: Make,
    gate: Gate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cut: bool,
    held: bool,
) -> None:
    # Unless the job is held, it may end before the reply to its submission.
    begin = Gate(tmp_path / "begin")
    if not held:
        begin.open()
    ensure_many = local_queue.ensure_many
    monkeypatch.setattr(local_queue.connection, "retries", SOON)

    def kill_first(specs: Any, *, retry: bool = False) -> list[tej.Outcome]:
        if retry:
            batch.kill()
            if cut:
                raise tej.ConnectionFailed("cut")
        return ensure_many(specs, retry=retry)

    monkeypatch.setattr(local_queue, "ensure_many", kill_first)
    script = f"{begin.wait}; mkdir '{tmp_path}/failed' && exit 5; {gate.wait}"
    run = Run(local_queue, JobSpec(job(script)), retry=lambda _: True)
    batch = tej.Batch([run], on_start=lambda _: begin.open())
    (result,) = batch.run(timeout=90)
    assert isinstance(result.error, tej.JobFailed)
    assert result.status is not None
    states = {True: tej.JobState.FINISHED, False: tej.JobState.KILLED}
    assert result.status.state is states[cut]


def test_missing_file_fails_only_its_run(
    local_queue: tej.RemoteQueue, job: Make, tmp_path: Path
) -> None:
    spec = JobSpec(job("echo x >there"))
    runs = [
        Run(local_queue, spec, [name], tmp_path / "results")
        for name in ("there", "absent")
    ]
    there, absent = tej.run_many(runs)
    assert there.succeeded
    assert [path.read_text() for path in there.files] == ["x\n"]
    assert isinstance(absent.error, tej.DownloadFailed)


def test_hook_that_raises_ends_the_wait(
    local_queue: tej.RemoteQueue, job: Make, gate: Gate
) -> None:
    class Stop(Exception):
        pass

    def stop() -> None:
        raise Stop

    with pytest.raises(Stop):
        tej.run_many([Run(local_queue, JobSpec(job(gate.wait)))], on_tick=stop)


def test_unusable_queue_does_not_affect_the_other(
    local_queue: tej.RemoteQueue, job: Make, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a queue")
    bad = tej.RemoteQueue("local:", str(tmp_path / "file"), "default")
    spec = JobSpec(job("true"))
    first, second = tej.run_many([Run(bad, spec), Run(local_queue, spec)])
    assert isinstance(first.error, tej.Error)
    assert second.succeeded


def test_ensure_many_starts_jobs_without_iteration(
    local_queue: tej.RemoteQueue, job: Make
) -> None:
    local_queue.ensure_many([JobSpec(job("true"), job_id="a")])
    wait_until(lambda: local_queue.statuses(["a"])["a"], "the job exists")


def test_equal_arguments_share_one_queue(tmp_path: Path) -> None:
    path = str(tmp_path / "queue")
    one = tej.shared_queue("local:", path, setup_runtime="default")
    found: list[tej.RemoteQueue] = []

    def find() -> None:
        found.append(tej.shared_queue("local:", path, setup_runtime="default"))

    threads = [threading.Thread(target=find) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {id(queue) for queue in found} == {id(one)}
    assert tej.shared_queue("local:", path, need_runtime=["default"]) is not one
    tej.close_shared_queues()
    assert tej.shared_queue("local:", path, setup_runtime="default") is not one
    tej.close_shared_queues()


@forks
def test_fork_while_another_thread_holds_the_cache() -> None:
    from tej.queue import shared_queue

    with shared_queue._lock:
        pid = os.fork()
        if not pid:
            # Without a new lock in the child this would wait forever.
            os._exit(0 if shared_queue._lock.acquire(timeout=5) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@forks
def test_forked_process_knows_which_servers_replied(tmp_path: Path) -> None:
    paths = [str(tmp_path / name) for name in ("replied", "silent")]
    replied, _ = (
        tej.shared_queue("local:", path, setup_runtime="default") for path in paths
    )
    replied.setup()
    pid = os.fork()
    if not pid:
        found = []
        try:
            for path in paths:
                queue = tej.shared_queue("local:", path, setup_runtime="default")
                found.append(queue.connection.reached)
        finally:
            # The child must not continue with the other tests.
            os._exit(0 if found == [True, False] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    tej.close_shared_queues()
