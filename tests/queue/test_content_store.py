"""Content store:

stored content is not sent again, and jobs never share writable files.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from jobs import job_directory

import tej
from tej.errors import InvalidJobDirectory
from tej.queue.submission import Submission, submit_all
from tej.wire.content_store import FileObject, plan
from tej.wire.tar_writer import Writer


class Sent:
    """Counts the bytes of uploads."""

    def __init__(self) -> None:
        self.total = 0

    def __call__(self, size: int) -> None:
        self.total += size


def ensure(
    queue: tej.RemoteQueue, directory: Path, **how: object
) -> tuple[tej.Job, int]:
    """Return the job, and the number of bytes that were sent for the job."""
    sent = Sent()
    job = queue.ensure(directory, progress=sent, **how)  # type: ignore[arg-type]
    assert job.wait().succeeded
    return job, sent.total


def many_files(folder: Path, count: int, size: int) -> Path:
    """Return a job with many files, which prints their contents."""
    files = {f"dir {n % 20}/it's {n}": os.urandom(size) for n in range(count)}
    return job_directory(folder, "cat dir*/* | cksum", files)


def test_one_changed_file_of_many_is_sent(
    queue: tej.RemoteQueue, tmp_path: Path
) -> None:
    directory = many_files(tmp_path, 1000, 4096)
    _, first = ensure(queue, directory)
    changed = directory / "dir 7/it's 7"
    changed.write_bytes(b"changed")
    job, second = ensure(queue, directory)
    assert first > 1000 * 4096
    assert second < first / 8
    out = tmp_path / "out"
    job.download(".", directory=out)
    for path in directory.rglob("*"):
        if path.is_file():
            assert (out / path.relative_to(directory)).read_bytes() == path.read_bytes()


def test_large_common_input_is_sent_once(
    queue: tej.RemoteQueue, tmp_path: Path
) -> None:
    large = os.urandom(8_000_000)
    specs = []
    for number in range(10):
        script = f"echo {number}; cmp input copy"
        files = {"input": large, "copy": large}
        specs.append(tej.JobSpec(job_directory(tmp_path, script, files, f"j{number}")))
    sent = Sent()
    outcomes = submit_all(queue.connection, "ensure", specs, sent)
    assert all(outcome.is_new for outcome in outcomes)
    ended = queue.wait(outcome.job_id for outcome in outcomes)
    assert all(status.succeeded for status in ended.values())
    assert sent.total < 2 * len(large)


def test_job_changes_only_its_own_input(queue: tej.RemoteQueue, tmp_path: Path) -> None:
    content = os.urandom(4_000_000)
    spoil = job_directory(tmp_path, "echo x >>input; echo x >>small", name="spoil")
    use = job_directory(tmp_path, "cksum input small", name="use")
    for directory in (spoil, use):
        (directory / "input").write_bytes(content)
        (directory / "small").write_bytes(b"small")
    ensure(queue, spoil)
    job, sent = ensure(queue, use)
    assert sent < len(content)
    job.download(["input", "small"], directory=tmp_path / "out")
    assert (tmp_path / "out/input").read_bytes() == content
    assert (tmp_path / "out/small").read_bytes() == b"small"


def test_equal_content_keeps_separate_executable_bits(
    queue: tej.RemoteQueue, tmp_path: Path
) -> None:
    program = b"#!/bin/sh\necho I run\n" + b"#" * 4_000_000
    directory = job_directory(
        tmp_path, "./program; test ! -x data", {"program": program, "data": program}
    )
    (directory / "program").chmod(0o755)
    job, _ = ensure(queue, directory)
    assert b"".join(job.logs()) == b"I run\n"


def test_removed_object_is_sent_again(
    queue: tej.RemoteQueue, queue_path: Path, tmp_path: Path
) -> None:
    content = os.urandom(4_000_000)
    one = job_directory(tmp_path, "cksum input", {"input": content}, "one")
    two = job_directory(tmp_path, "cksum ./input", {"input": content}, "two")
    ensure(queue, one)
    shutil.rmtree(queue_path / "objects")
    _, sent = ensure(queue, two)
    assert sent > len(content)


def objects_of(queue_path: Path) -> list[Path]:
    return [path for path in queue_path.glob("objects/*/*") if path.is_file()]


def test_deletion_removes_unused_objects(
    queue: tej.RemoteQueue, queue_path: Path, tmp_path: Path
) -> None:
    kept = os.urandom(4_000_000)
    gone = os.urandom(4_000_000)
    files = {"kept": kept, "gone": gone}
    stays, _ = ensure(queue, job_directory(tmp_path, "true", {"kept": kept}, "stays"))
    goes, _ = ensure(queue, job_directory(tmp_path, "false || :", files, "goes"))
    before = objects_of(queue_path)
    goes.delete()
    left = objects_of(queue_path)
    assert len(left) == len(before) - 2
    assert {path.stat().st_size for path in left} >= {len(kept)}
    stays.delete()
    assert objects_of(queue_path) == []


def test_objects_of_attempts_are_kept(
    queue: tej.RemoteQueue, queue_path: Path, tmp_path: Path
) -> None:
    files = {"input": os.urandom(4_000_000)}
    directory = job_directory(tmp_path, "exit 1", files)
    first = queue.ensure(directory)
    assert not first.wait().succeeded
    again = queue.ensure(directory, retry=True)
    assert not again.wait().succeeded
    queue.delete(f"{again.id}#1")
    assert objects_of(queue_path)
    again.delete()
    assert objects_of(queue_path) == []


def test_deletion_during_an_upload_does_not_break_it(
    queue: tej.RemoteQueue,
    local_server: object,
    queue_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = os.urandom(4_000_000)
    old = job_directory(tmp_path, "cmp input input", {"input": content}, "old")
    new = job_directory(tmp_path, "wc -c input", {"input": content}, "new")
    ensure(queue, old)
    other = tej.RemoteQueue("local:", str(queue_path))
    pack = Submission._pack_missing

    def delete_and_pack(self: Submission, *words: object) -> object:
        # The server has requested the missing objects and waits for them.
        for status in other.jobs():
            other.delete(status.job_id)
        assert objects_of(queue_path) == []
        return pack(self, *words)  # type: ignore[arg-type]

    monkeypatch.setattr(Submission, "_pack_missing", delete_and_pack)
    job, sent = ensure(queue, new)
    assert sent < len(content)
    assert b"".join(job.logs()).split()[0] == b"4000000"
    # The content is in the store again for the next job.
    assert len(content) in {path.stat().st_size for path in objects_of(queue_path)}


def test_sizes_reports_total_and_content_store(
    queue: tej.RemoteQueue, queue_path: Path, tmp_path: Path
) -> None:
    job, _ = ensure(
        queue, job_directory(tmp_path, "true", {"input": os.urandom(4_000_000)})
    )
    head = queue.connection.request("sizes").head
    store, total = int(head["store"]) * 1024, int(head["total"]) * 1024
    assert store >= 4_000_000
    assert total >= store + queue.sizes()[job.id] >= 8_000_000


def test_file_changed_during_upload_is_not_stored(
    queue: tej.RemoteQueue,
    queue_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    directory = job_directory(tmp_path, "true", {"input": os.urandom(4_000_000)})
    pack = FileObject.pack

    def change_and_pack(self: FileObject, writer: Writer) -> object:
        (directory / "input").write_bytes(os.urandom(4_000_000))
        return pack(self, writer)

    monkeypatch.setattr(FileObject, "pack", change_and_pack)
    with pytest.raises(InvalidJobDirectory, match="input' was changed"):
        queue.ensure(directory)
    assert queue.jobs() == []
    assert not list(queue_path.glob("objects/*/*"))


def test_submit_of_huge_file_skips_store(
    queue: tej.RemoteQueue, queue_path: Path, tmp_path: Path
) -> None:
    directory = job_directory(tmp_path, "cmp input same", {"input": b""})
    with (directory / "input").open("wb") as file:
        file.truncate(70_000_000)
    shutil.copy(directory / "input", directory / "same")
    with (directory / "other").open("wb") as file:
        file.truncate(80_000_000)
    job_id = queue.submit(None, directory)
    assert queue.wait([job_id])[job_id].succeeded
    sizes = {path.stat().st_size for path in queue_path.glob("objects/*/*")}
    assert 80_000_000 not in sizes


def test_bundle_borders_depend_on_paths(tmp_path: Path) -> None:
    from tej.job.directory import scan

    directory = many_files(tmp_path, 500, 2048)
    before = set(plan(scan(directory), None).objects)
    (directory / "dir 3/new").write_bytes(b"new")
    after = set(plan(scan(directory), None).objects)
    assert 3 < len(before) < 50
    assert len(after - before) == 1
