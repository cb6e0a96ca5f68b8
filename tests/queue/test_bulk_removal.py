"""Deletion of many ended jobs in one request."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from clocks import set_age
from facts import make_ended_job, token_of_ended

import tej
from tej.errors import JobNotFound, JobStillRunning
from tej.queue.remote import RemoteQueue


@pytest.fixture
def queue(tmp_path: Path) -> RemoteQueue:
    queue = tej.RemoteQueue("local:", str(tmp_path / "queue"), "default")
    queue.setup()
    return queue


@pytest.fixture
def marked_process() -> Iterator[None]:
    """A process with the token of the job `marked`."""
    environment = {**os.environ, "TEJ_JOB_TOKEN": token_of_ended("marked")}
    process = subprocess.Popen(["sleep", "600"], env=environment)
    yield
    process.kill()
    process.wait()


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="no /proc")
@pytest.mark.usefixtures("marked_process")
def test_jobs_with_processes_are_not_deleted(queue: RemoteQueue) -> None:
    ids = [f"job{number}" for number in range(30)]
    for job_id in ids:
        make_ended_job(queue.queue, job_id)
    make_ended_job(queue.queue, "marked")
    pending = make_ended_job(queue.queue, "unended", finished=None)
    (pending / "native_id").unlink()
    (pending / "queued").write_text("1700000001\n")
    errors = queue.delete_many([*ids[:15], "marked", "unended", *ids[15:]])
    kept = {job_id for job_id, error in errors.items() if error is not None}
    assert kept == {"marked", "unended"}
    assert all(isinstance(errors[job_id], JobStillRunning) for job_id in kept)
    assert {job.job_id for job in queue.jobs()} == kept
    assert not [*Path(queue.queue, "incoming").iterdir()]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc")
def test_claim_for_a_batch_protects_the_job(queue: RemoteQueue) -> None:
    claim = make_ended_job(queue.queue, "claimed") / ".removal"
    make_ended_job(queue.queue, "free")
    claim.write_text(words_of_this_process())
    errors = queue.delete_many(["claimed", "free"])
    assert errors["free"] is None
    assert "another client" in str(errors["claimed"])
    assert queue.status("claimed").succeeded
    # The claim of a dead client has no effect.
    claim.write_text(words_of_this_process().replace("\n", "0\n"))
    queue.delete("claimed")
    assert queue.jobs() == []


def words_of_this_process() -> str:
    """Return the words by which tej identifies the process of this test."""
    kernel = Path("/proc/sys/kernel")
    host = (kernel / "hostname").read_text().strip()
    boot = (kernel / "random/boot_id").read_text().strip()
    space = re.sub(r"\D", "", os.readlink("/proc/self/ns/pid"))
    start = Path("/proc/self/stat").read_text().rpartition(") ")[2].split()[19]
    return f"{host} {boot} {space} {os.getpid()} {start}\n"


def test_unstarted_job_does_not_stop_a_batch(queue: RemoteQueue) -> None:
    make_ended_job(queue.queue, "first")
    facts = make_ended_job(
        queue.queue, "unstarted", native_id=None, started=None, finished=None
    )
    set_age(10_000, facts / "submitted")
    make_ended_job(queue.queue, "last")
    ids = ["first", "unstarted", "last"]
    assert queue.delete_many(ids) == dict.fromkeys(ids)
    assert queue.jobs() == []


def test_batches_delete_each_job_once(queue: RemoteQueue) -> None:
    ids = [f"job{number}" for number in range(230)]
    for job_id in ids:
        make_ended_job(queue.queue, job_id)
    make_ended_job(queue.queue, "kept")
    errors = queue.delete_many([*ids, "absent"])
    assert isinstance(errors.pop("absent"), JobNotFound)
    assert errors == dict.fromkeys(ids)
    assert [job.job_id for job in queue.jobs()] == ["kept"]
