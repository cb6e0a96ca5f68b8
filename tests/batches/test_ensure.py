"""`ensure`: starts a job, or finds the running or finished job, exactly once."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from faults.clients import continue_together
from jobs import Gate, end_processes_of, wait_until
from servers.proxy import Proxy

import tej
from tej import JobState

if TYPE_CHECKING:
    from tests.batches.conftest import RoundTrips
    from tests.faults.clients import Client

Make = Callable[..., Path]


def counting(
    job: Make, tmp_path: Path, script: str = "true", **options: object
) -> Path:
    """Return a job that records each of its starts in `starts`."""
    return job(f"echo started >>'{tmp_path}/starts'\n{script}", **options)


def starts(tmp_path: Path) -> int:
    return len((tmp_path / "starts").read_text().splitlines())


# Missing, running and finished jobs


def test_missing_job_is_started(queue: tej.RemoteQueue, job: Make) -> None:
    directory = job("echo made")
    handle = queue.ensure(directory)
    assert handle.is_new
    assert handle.id == "sig-" + tej.signature(directory)[:20]
    assert handle.wait().succeeded
    assert b"".join(handle.logs()) == b"made\n"
    assert handle.status().signature == tej.signature(directory)


def test_running_job_is_found_and_not_started(
    queue: tej.RemoteQueue, job: Make, gate: Gate, tmp_path: Path
) -> None:
    directory = counting(job, tmp_path, gate.wait)
    first = queue.ensure(directory)
    second = queue.ensure(directory)
    assert (second.id, second.is_new) == (first.id, False)
    assert second.status().state is JobState.RUNNING
    gate.open()
    assert second.wait().succeeded
    assert starts(tmp_path) == 1


def test_finished_job_is_found_without_upload(
    through: Callable[..., tej.RemoteQueue], proxy: Proxy, job: Make, tmp_path: Path
) -> None:
    queue = through()
    directory = counting(
        job, tmp_path, "wc -c <data", files={"data": os.urandom(4_000_000)}
    )
    queue.ensure(directory).wait()
    runs, sent = queue.transport.runs, proxy.bytes["up"]
    handle = queue.ensure(directory)
    assert not handle.is_new
    assert queue.transport.runs == runs + 1
    assert proxy.bytes["up"] - sent < 100_000
    assert handle.status().succeeded
    assert starts(tmp_path) == 1


def test_equal_directory_elsewhere_is_same_job(
    queue: tej.RemoteQueue, job: Make
) -> None:
    first = queue.ensure(job("echo same", name="here"))
    second = queue.ensure(job("echo same", name="there"), labels={"a": "b"})
    assert first.id == second.id
    assert not second.is_new


def test_different_files_make_different_job(queue: tej.RemoteQueue, job: Make) -> None:
    first = queue.ensure(job("echo one", name="one"))
    second = queue.ensure(job("echo two", name="two"))
    third = queue.ensure(job("echo two", name="two"), environment={"N": "3"})
    assert len({first.id, second.id, third.id}) == 3


def test_job_has_its_environment(queue: tej.RemoteQueue, job: Make) -> None:
    value = 'it\'s a "value"\n$HOME é'
    handle = queue.ensure(job('printf %s "$VALUE"'), environment={"VALUE": value})
    handle.wait()
    assert b"".join(handle.logs()).decode() == value


@pytest.mark.parametrize("name", ["", "1A", "A B", "A=B", "TEJ_JOB_ID", "é"])
def test_invalid_variable_is_refused_before_upload(
    local_queue: tej.RemoteQueue, job: Make, name: str, queue_path: Path
) -> None:
    with pytest.raises(tej.InvalidJobDirectory):
        local_queue.ensure(job(), environment={name: "value"})
    assert not queue_path.exists()


def test_given_id_must_match_the_work(queue: tej.RemoteQueue, job: Make) -> None:
    queue.ensure(job("echo one", name="one"), job_id="mine").wait()
    assert not queue.ensure(job("echo one", name="one"), job_id="mine").is_new
    with pytest.raises(
        tej.JobAlreadyExists, match="different files or a different command"
    ):
        queue.ensure(job("echo two", name="two"), job_id="mine")
    assert b"".join(queue.logs("mine")) == b"one\n"


# Failed jobs


def test_failed_job_is_found_without_retry(
    local_queue: tej.RemoteQueue, job: Make, failed: tej.Job
) -> None:
    directory = job(
        "echo out; echo why >&2; echo partial >results; exit 7", name="failing"
    )
    found = local_queue.ensure(directory, job_id="failed")
    assert not found.is_new
    assert found.status().exit_code == 7
    again = local_queue.ensure(directory, job_id="failed", retry=True)
    assert again.is_new
    assert again.wait().attempt == 2


def test_retry_archives_complete_failed_attempt(
    local_queue: tej.RemoteQueue, job: Make, failed: tej.Job, tmp_path: Path
) -> None:
    directory = job(
        "echo out; echo why >&2; echo partial >results; exit 7", name="failing"
    )
    local_queue.ensure(directory, job_id="failed", retry=True).wait()
    before = local_queue.status("failed#1")
    assert (before.job_id, before.exit_code) == ("failed#1", 7)
    assert b"".join(local_queue.logs("failed#1", "stderr")) == b"why\n"
    (file,) = local_queue.download("failed#1", "results", directory=tmp_path)
    assert file.read_text() == "partial\n"
    assert [status.job_id for status in local_queue.jobs()] == ["failed"]
    local_queue.ensure(directory, job_id="failed", retry=True).wait()
    assert local_queue.status("failed").attempt == 3
    assert local_queue.wait(["failed#1", "failed#2"]).keys() == {"failed#1", "failed#2"}


def test_attempt_is_deleted_alone_or_with_job(
    local_queue: tej.RemoteQueue, job: Make, failed: tej.Job, queue_path: Path
) -> None:
    directory = job(
        "echo out; echo why >&2; echo partial >results; exit 7", name="failing"
    )
    for _ in range(2):
        local_queue.ensure(directory, job_id="failed", retry=True).wait()
    local_queue.delete("failed#1")
    with pytest.raises(tej.JobNotFound):
        local_queue.status("failed#1")
    assert local_queue.status("failed#2").exit_code == 7
    local_queue.delete("failed")
    with pytest.raises(tej.JobNotFound):
        local_queue.status("failed#2")
    assert [*queue_path.glob("attempts/*")] == []


def test_attempt_numbers_are_listed_and_unique(
    local_queue: tej.RemoteQueue, failed: tej.Job, job: Make
) -> None:
    directory = job(
        "echo out; echo why >&2; echo partial >results; exit 7", name="failing"
    )
    assert local_queue.attempts("failed") == []
    for number in (1, 2, 3):
        again = local_queue.ensure(directory, job_id="failed", retry=True).wait()
        assert again.attempt == number + 1
    listed = local_queue.attempts("failed")
    assert [one.job_id for one in listed] == ["failed#1", "failed#2", "failed#3"]
    assert [(one.exit_code, one.attempt) for one in listed] == [(7, 1), (7, 2), (7, 3)]
    local_queue.delete("failed#1")
    local_queue.delete("failed#3")
    assert local_queue.status("failed").attempt == 4
    local_queue.ensure(directory, job_id="failed", retry=True).wait()
    listed = local_queue.attempts("failed")
    assert [one.job_id for one in listed] == ["failed#2", "failed#4"]


def test_retry_keeps_successful_and_running_jobs(
    local_queue: tej.RemoteQueue, job: Make, gate: Gate, tmp_path: Path
) -> None:
    directory = counting(job, tmp_path, gate.wait)
    first = local_queue.ensure(directory, retry=True)
    assert not local_queue.ensure(directory, retry=True).is_new
    gate.open()
    assert first.wait().attempt == 1
    assert not local_queue.ensure(directory, retry=True).is_new
    assert starts(tmp_path) == 1


def test_killed_job_is_retried(
    local_queue: tej.RemoteQueue, job: Make, gate: Gate
) -> None:
    directory = job(gate.wait)
    local_queue.ensure(directory).kill(grace=1)
    gate.open()
    again = local_queue.ensure(directory, retry=True)
    assert again.is_new
    assert again.wait().succeeded
    assert local_queue.status(again.id + "#1").state is JobState.KILLED


# Several callers and several jobs


def test_threads_agree_on_one_job(
    queue: tej.RemoteQueue, job: Make, tmp_path: Path
) -> None:
    directory = counting(job, tmp_path)
    handles: list[tej.Job] = []
    threads = [
        threading.Thread(target=lambda: handles.append(queue.ensure(directory)))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(handles) == 6
    assert len({handle.id for handle in handles}) == 1
    assert sum(handle.is_new for handle in handles) == 1
    handles[0].wait()
    assert starts(tmp_path) == 1


@pytest.mark.parametrize("retry", [False, True])
def test_processes_agree_on_one_job_and_retry(
    client: Callable[[str], Client],
    local_queue: tej.RemoteQueue,
    job: Make,
    tmp_path: Path,
    retry: bool,
) -> None:
    directory = counting(job, tmp_path, f"[ ! -e '{tmp_path}/bad' ] || exit 1")
    if retry:
        (tmp_path / "bad").touch()
        local_queue.ensure(directory).wait()
        (tmp_path / "bad").unlink()
    lines = (
        f"pause()\nhandle = queue.ensure({str(directory)!r}, retry={retry})\n"
        "assert handle.wait().succeeded\nprint(handle.id, handle.is_new)"
    )
    clients = [client(lines) for _ in range(4)]
    continue_together(clients)
    said = [one.finish().split() for one in clients]
    assert len({job_id for job_id, _ in said}) == 1
    assert [is_new for _, is_new in said].count("True") == 1
    assert starts(tmp_path) == 1 + retry


def test_ensure_many_keeps_order_and_collects_failures(
    queue: tej.RemoteQueue, job: Make, round_trips: RoundTrips
) -> None:
    directory = job('echo "$N"')
    queue.setup()
    specs = [tej.JobSpec(directory, environment={"N": str(n)}) for n in range(5)]
    odd = tej.JobSpec(job("echo other", name="other"), job_id="taken")
    queue.ensure(job("echo first", name="first"), job_id="taken")
    round_trips()
    outcomes = [*queue.ensure_many([*specs[:2], odd, *specs[2:]])]
    assert round_trips() == 1
    assert [outcome.is_new for outcome in outcomes] == [True, True, False, *[True] * 3]
    assert isinstance(outcomes[2].error, tej.JobAlreadyExists)
    ids = [outcome.job_id for outcome in outcomes if outcome.error is None]
    assert all(status.succeeded for status in queue.wait(ids).values())
    printed = [b"".join(queue.logs(job_id)) for job_id in ids]
    assert printed == [b"%d\n" % number for number in range(5)]
    round_trips()
    assert not any(outcome.is_new for outcome in queue.ensure_many(specs))
    assert round_trips() == 1


def test_concurrent_ensure_many_starts_each_job_once(
    client: Callable[[str], Client],
    local_queue: tej.RemoteQueue,
    job: Make,
    tmp_path: Path,
) -> None:
    directory = counting(job, tmp_path)
    lines = (
        f"folder = {str(directory)!r}\n"
        "specs = [tej.JobSpec(folder, environment={'N': str(n)}) for n in range(8)]\n"
        "pause()\n"
        "outcomes = list(queue.ensure_many(specs))\n"
        "assert not any(outcome.error for outcome in outcomes), outcomes\n"
        "queue.wait([outcome.job_id for outcome in outcomes])\n"
        "print(sum(outcome.is_new for outcome in outcomes))"
    )
    clients = [client(lines) for _ in range(3)]
    continue_together(clients)
    assert sum(int(one.finish()) for one in clients) == 8
    assert starts(tmp_path) == 8
    assert len(local_queue.jobs()) == 8


def test_equal_work_in_one_call_is_one_job(
    local_queue: tej.RemoteQueue, job: Make, tmp_path: Path
) -> None:
    spec = tej.JobSpec(counting(job, tmp_path))
    first, second = local_queue.ensure_many([spec, spec])
    assert (first.is_new, second.is_new) == (True, False)
    assert first.job_id == second.job_id
    local_queue.wait([first.job_id])
    assert starts(tmp_path) == 1


def test_job_failed_has_status_and_stderr(queue: tej.RemoteQueue, job: Make) -> None:
    lines = "; ".join(f"echo line {n} >&2" for n in range(30))
    handle = queue.ensure(job(f"{lines}; exit 7"))
    with pytest.raises(tej.JobFailed) as caught:
        handle.result()
    error = caught.value
    status = handle.status()
    assert (error.job_id, error.state, error.exit_code) == (handle.id, "finished", 7)
    assert (error.signal, error.host) == (None, status.host)
    assert error.stderr.splitlines() == [f"line {n}" for n in range(10, 30)]
    assert handle.id in str(error)
    assert "exit code 7" in str(error)
    assert "line 29" in str(error)


def test_job_failed_names_the_signal(local_queue: tej.RemoteQueue, job: Make) -> None:
    handle = local_queue.ensure(job("kill -s SEGV $$"))
    with pytest.raises(tej.JobFailed, match="SIGSEGV") as caught:
        handle.result()
    assert (caught.value.exit_code, caught.value.signal) == (None, 11)


def test_result_returns_status_of_successful_job(
    local_queue: tej.RemoteQueue, job: Make
) -> None:
    assert local_queue.ensure(job("true")).result().succeeded


def test_lost_job_is_retried(
    local_queue: tej.RemoteQueue, job: Make, gate: Gate, queue_path: Path
) -> None:
    directory = job(gate.wait)
    handle = local_queue.ensure(directory)
    wait_until(lambda: handle.status().state is JobState.RUNNING, "the job runs")
    end_processes_of(queue_path)
    wait_until(lambda: handle.status().state is JobState.LOST, "the job is lost")
    gate.open()
    again = local_queue.ensure(directory, retry=True)
    assert again.is_new
    assert again.wait().succeeded
