"""Shared input (`shared`): one copy on the disk, which jobs can only read."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from jobs import Gate

import tej

Make = Callable[..., Path]

CONTENT = os.urandom(100_000)


def test_shared_file_is_on_the_disk_once(
    local_queue: tej.RemoteQueue, job: Make, queue_path: Path, tmp_path: Path
) -> None:
    files = {"data/big": CONTENT, "data/small": "small", "own": CONTENT}
    directory = job("cksum data/big >sum; cat data/small", files)
    specs = [
        tej.JobSpec(directory, environment={"N": n}, shared=["data/"]) for n in "123"
    ]
    ids = [outcome.job_id for outcome in local_queue.ensure_many(specs)]
    assert all(one.succeeded for one in local_queue.wait(ids).values())
    stages = [queue_path / "jobs" / job_id / "stage" for job_id in ids]
    shared = [(stage / "data/big").stat() for stage in stages]
    assert len({one.st_ino for one in shared}) == 1
    assert shared[0].st_nlink == 4
    assert {stat.S_IMODE(one.st_mode) for one in shared} == {0o444}
    assert (stages[0] / "data/small").stat().st_mode & 0o222 == 0
    assert len({(stage / "own").stat().st_ino for stage in stages}) == 3
    # Whether a file is shared is not part of the signature.
    assert local_queue.ensure(directory, environment={"N": "1"}).id == ids[0]

    (path,) = local_queue.download(ids[0], "data/big", directory=tmp_path / "out")
    assert path.read_bytes() == CONTENT
    assert b"".join(local_queue.logs(ids[0], "data/big")) == CONTENT
    for job_id in ids[:2]:
        local_queue.delete(job_id)
    assert (stages[2] / "data/big").read_bytes() == CONTENT
    assert (stages[2] / "data/big").stat().st_nlink == 2
    local_queue.delete(ids[2])
    assert not [path for path in queue_path.glob("objects/*/*") if path.is_file()]


def test_changed_shared_file_reaches_no_further_job(
    local_queue: tej.RemoteQueue, job: Make, gate: Gate
) -> None:
    local_queue.setup(max_running=1)
    # The mode does not stop root or the owner of a file.
    spoil = f"{gate.wait}; chmod u+w data; echo spoilt >>data"
    options = {"shared": ["data"]}
    files = {"data": CONTENT}
    local_queue.submit("spoiler", job(spoil, files, "spoiler"), **options)
    local_queue.submit("victim", job("true", files, "victim"), **options)
    gate.open()
    local_queue.wait(["spoiler", "victim"])
    note = local_queue.status("spoiler").note or ""
    assert "its shared file data was changed while it ran" in note
    victim = local_queue.status("victim")
    assert victim.state is tej.JobState.KILLED
    assert "another job has changed the shared file 'data'" in (victim.note or "")
    size = f"[ $(wc -c <data) = {len(CONTENT)} ]"
    local_queue.submit("next", job(size, files, "next"), **options)
    assert local_queue.job("next").wait().succeeded


def test_only_files_that_are_sent_are_shared(
    local_queue: tej.RemoteQueue, job: Make, queue_path: Path
) -> None:
    directory = job("true", {"data": CONTENT})
    (directory / "link").symlink_to("data")
    for path, words in (
        ("absent", "'absent' cannot be shared"),
        ("link", "symbolic link"),
    ):
        with pytest.raises(tej.InvalidJobDirectory, match=words):
            local_queue.submit("a", directory, shared=[path])
    assert not queue_path.exists()


def test_job_replaces_a_shared_file_for_itself(
    local_queue: tej.RemoteQueue, job: Make
) -> None:
    files = {"data": CONTENT, "tool": b"#!/bin/sh\nexit 0\n" + b"#" * 100_000}
    directory = job("./tool && mv data old && echo own >data", files)
    (directory / "tool").chmod(0o755)
    for job_id in ("a", "b"):
        local_queue.submit(job_id, directory, shared=["."])
        status = local_queue.job(job_id).wait()
        assert (status.succeeded, status.note) == (True, None)
