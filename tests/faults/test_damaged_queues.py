"""Damaged facts, and foreign files in a queue: one job is damaged, the others work."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_process import run_command
from facts import make_ended_job, script_of
from faults.faulty_servers import Doubles, Within, mounted, open_queue
from jobs import (
    Gate,
    is_alive,
    processes_of,
    wait_until,
    wait_until_ended,
    wait_until_printed,
)

import tej
from tej import JobState
from tej.transport import Completed

Make = Callable[..., Path]
Require = Callable[[str], None]

WHILE_RUNNING = (
    "spec",
    "submitted",
    "native_id",
    "started",
    "heartbeat",
    "claim",
    "command",
)
AT_THE_END = (*WHILE_RUNNING, "finished")

DAMAGE: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: shutil.rmtree(path) if path.is_dir() else path.unlink(),
    "empty": lambda path: _replace(path, b""),
    "a word": lambda path: _replace(path, b"garbage\n"),
    "words": lambda path: _replace(path, b"one two three four five six seven\n"),
    "an octal number": lambda path: _replace(path, b"0899 0899 0899 0899 0899 0899\n"),
    "a huge number": lambda path: _replace(path, b"9" * 40 + b" 1 1 1 1 1\n"),
    "a late number": lambda path: _replace(path, b"99999999999999 1 1 1 1 1\n"),
    "binary": lambda path: _replace(path, bytes(range(256)) * 8),
    "wildcards": lambda path: _replace(
        path, b"* /* $(touch pwned) `touch pwned` * *\n"
    ),
    "a directory": lambda path: _replace(path, None),
    "no newline": lambda path: _replace(path, path.read_bytes().rstrip()),
    "half of it": lambda path: _replace(
        path, path.read_bytes()[: path.stat().st_size // 2]
    ),
    "twice": lambda path: _replace(path, path.read_bytes() * 2),
}

if not os.environ.get("TEJ_THOROUGH"):
    # Each remaining kind of damage differs from one of these only in a detail.
    for way in ("words", "an octal number", "a late number", "twice"):
        del DAMAGE[way]


def _replace(path: Path, content: bytes | None) -> None:
    DAMAGE["missing"](path)
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)


KILLED_WITH = ("missing", "empty", "a word", "half of it")
"""The kinds of damage that a kill of a running job is tested with."""


def pid_of_script(facts: Path) -> int:
    """Return the pid of a job's first process, once the process has recorded it."""
    wait_until((facts / "started").exists, "the job is started")
    return script_of(facts)


def is_damaged_fact(path: Path, way: str) -> bool:
    """Return whether a fact can be damaged in this way; `claim` is a directory."""
    return path.exists() and (path.is_file() or way in ("missing", "empty", "a word"))


@pytest.mark.parametrize("fact", AT_THE_END)
def test_damaged_fact_of_ended_job_is_reported(
    fact: str, queue: tej.RemoteQueue, queue_path: Path, job: Make
) -> None:
    queue.submit("healthy", job("true"))
    queue.submit("whole", job("true"))
    for name in ("healthy", "whole"):
        wait_until(
            lambda name=name: queue.status(name).state.final, "the job has ended"
        )
    jobs = queue_path / "jobs"
    for number, (way, damage) in enumerate(DAMAGE.items()):
        if not is_damaged_fact(jobs / "whole" / fact, way):
            continue
        damaged = f"damaged{number}"
        shutil.copytree(jobs / "whole", jobs / damaged)
        damage(jobs / damaged / fact)
    found = {status.job_id: status for status in queue.jobs()}
    assert set(found) == {path.name for path in jobs.iterdir()}
    assert found["healthy"].succeeded
    again = queue.statuses(found)
    for job_id, status in found.items():
        if not status.succeeded:
            assert status.state in (JobState.LOST, JobState.FINISHED), status
            assert status.state is JobState.FINISHED or status.evidence, status
        assert again[job_id] is not None
        assert again[job_id].state is status.state
    for killed in queue.kill_many(found).values():
        assert killed is not None
        assert killed.status.state.final
    assert [*queue.delete_many(found).values()] == [None] * len(found)
    assert list(jobs.iterdir()) == []
    assert not list(queue_path.rglob("pwned"))


@pytest.mark.parametrize("fact", WHILE_RUNNING)
def test_damaged_facts_never_end_running_job(
    fact: str, queue: tej.RemoteQueue, queue_path: Path, job: Make, gate: Gate
) -> None:
    queue.submit("healthy", job("true"))
    wait_until(lambda: queue.status("healthy").state.final, "the job has ended")
    queue.submit("runs", job(f"echo begun; {gate.wait}", name="runs"))
    facts = queue_path / "jobs/runs"
    leader = pid_of_script(facts)
    # The shell of the job reads `command` after it has written `started`.
    wait_until_printed(queue_path, "runs")
    kept = queue_path.parent / "kept"
    for way, damage in DAMAGE.items():
        path = facts / fact
        if not is_damaged_fact(path, way):
            continue
        (shutil.copytree if path.is_dir() else shutil.copy2)(path, kept)
        damage(path)
        found = {status.job_id: status for status in queue.jobs()}
        assert found["healthy"].succeeded
        assert found["runs"].state is not JobState.FINISHED, way
        with pytest.raises((tej.JobStillRunning, tej.RemoteCommandFailure)):
            queue.delete("runs")
        assert facts.exists(), way
        assert is_alive(leader), way
        if path.exists():
            DAMAGE["missing"](path)
        kept.rename(path)
        # A state derived from damaged facts is not recorded.
        (facts / "lost").unlink(missing_ok=True)
    assert queue.status("runs").state is JobState.RUNNING
    gate.open()
    wait_until(lambda: queue.status("runs").state.final, "the job has ended")
    assert queue.status("runs").succeeded


def test_empty_native_id_of_starting_job_is_no_damage(
    queue: tej.RemoteQueue, queue_path: Path, job: Make
) -> None:
    """The wrapper of a job that is started with others creates the fact, then writes it."""
    queue.submit("starts", job("true"))
    wait_until(lambda: queue.status("starts").state.final, "the job has ended")
    facts = queue_path / "jobs/starts"
    for fact in ("native_id", "finished", "started"):
        (facts / fact).write_bytes(b"")
    (facts / "claim").touch()
    assert queue.status("starts").state is JobState.CREATED
    assert not (facts / "lost").exists()


@pytest.mark.parametrize("fact", ["spec", "submitted", "native_id", "started"])
def test_running_job_with_damaged_fact_can_be_killed(
    fact: str, queue: tej.RemoteQueue, queue_path: Path, job: Make, gate: Gate
) -> None:
    ways = {f"runs{n}": way for n, way in enumerate(KILLED_WITH)}
    directory = job(gate.wait)
    ids = ["other", *ways]
    queue.submit_many(tej.JobSpec(directory, job_id=one) for one in ids)
    leaders = {one: pid_of_script(queue_path / "jobs" / one) for one in ids}
    for job_id, way in ways.items():
        DAMAGE[way](queue_path / "jobs" / job_id / fact)
    queue.kill_many(ways, grace=1)
    for job_id in ways:
        assert not is_alive(leaders[job_id]), ways[job_id]
    wait_until(
        lambda: all(one and one.state.final for one in queue.statuses(ways).values()),
        "the notices are printed",
    )
    assert set(queue.delete_many(ways).values()) == {None}
    assert queue.status("other").state is JobState.RUNNING


FOREIGN: dict[str, Callable[[Path], object]] = {
    "empty": lambda jobs: (jobs / "empty").mkdir(),
    "a copy (1)": lambda jobs: shutil.copytree(jobs / "healthy", jobs / "a copy (1)"),
    "a file": lambda jobs: (jobs / "a file").write_text("mine"),
    "wild*": lambda jobs: shutil.copytree(jobs / "healthy", jobs / "wild*"),
    "-rf": lambda jobs: (jobs / "-rf").mkdir(),
    "new\nline": lambda jobs: (jobs / "new\nline").mkdir(),
    "bytes": lambda jobs: os.mkdir(os.fsencode(jobs) + b"/\xff\xfe"),
    "hash": lambda jobs: (jobs / "a#1").mkdir(),
    "link": lambda jobs: (jobs / "link").symlink_to("healthy"),
    "dangling": lambda jobs: (jobs / "dangling").symlink_to("/nowhere"),
    "tej 0.6": lambda jobs: _old_job(jobs / "old"),
}


def _old_job(path: Path) -> None:
    path.mkdir()
    (path / "status").write_text("running 1 2020-01-01\n")


def test_foreign_files_in_queue_do_not_break_list(
    queue: tej.RemoteQueue, queue_path: Path, job: Make, gate: Gate
) -> None:
    queue.submit("healthy", job(gate.wait))
    for add in FOREIGN.values():
        add(queue_path / "jobs")
    # One awk reads the records of 50 jobs or more, unless an id contains a newline.
    ended = {f"job{number}" for number in range(50)}
    for job_id in ended:
        make_ended_job(queue_path, job_id)
    found = {status.job_id: status for status in queue.jobs()}
    assert ended <= found.keys()
    assert found["healthy"].state is JobState.RUNNING
    words = ["list", "local:", "--queue", str(queue_path)]
    for options in ([], ["--json"]):
        status, out, err = run_command(
            [*words, *options],
            queue_path,
            os.environ | {"PYTHONWARNINGS": "error"},
            200,
        )
        assert status == 0, err.decode()
        assert b"healthy" in out
    json.loads(out)
    gate.open()
    wait_until(lambda: queue.status("healthy").state.final, "the job has ended")
    queue.delete("healthy")
    assert (queue_path / "jobs/a file").read_text() == "mine"


def test_foreign_directory_is_listed_and_deleted(
    queue: tej.RemoteQueue, queue_path: Path, job: Make
) -> None:
    queue.setup()
    (queue_path / "jobs/foreign/deep").mkdir(parents=True)
    status = queue.status("foreign")
    assert status.state is JobState.LOST
    assert "not a job of tej" in (status.evidence or "")
    with pytest.raises(tej.JobAlreadyExists):
        queue.submit("foreign", job("true"))
    queue.delete("foreign")
    queue.submit("foreign", job("true"))


PARTS = [
    "jobs",
    "incoming",
    "scripts",
    "version",
    "scripts/*/lib",
    "scripts/*/commands",
]


def remove_half(queue: tej.RemoteQueue, queue_path: Path, job: Make, part: str) -> None:
    """Remove a part of a queue that contains the ended job `first`."""
    queue.submit("first", job("true"))
    wait_until(lambda: queue.status("first").state.final, "the job has ended")
    # The wrapper uses the queue for a moment after it has recorded the end.
    wait_until(lambda: not processes_of(queue_path), "the wrapper has ended")
    for path in queue_path.glob(part):
        DAMAGE["missing"](path)


@pytest.mark.parametrize("part", PARTS)
def test_half_removed_queue_is_repaired_by_submit(
    part: str, queue: tej.RemoteQueue, queue_path: Path, job: Make
) -> None:
    remove_half(queue, queue_path, job, part)
    queue.submit("second", job("true"))
    wait_until(lambda: queue.status("second").state.final, "the job has ended")
    assert queue.status("second").succeeded
    ids = [status.job_id for status in queue.jobs()]
    assert ids == (["second"] if part == "jobs" else ["first", "second"])


@pytest.mark.parametrize("part", PARTS)
def test_half_removed_queue_is_readable_or_reported(
    part: str, queue: tej.RemoteQueue, queue_path: Path, job: Make
) -> None:
    remove_half(queue, queue_path, job, part)
    for verb in (
        queue.jobs,
        lambda: queue.status("first"),
        lambda: queue.kill("first"),
    ):
        try:
            verb()
        except (tej.RemoteCommandFailure, tej.JobNotFound):
            assert part in ("version", "jobs")


def test_vanished_queue_is_not_created_again(
    queue: tej.RemoteQueue,
    queue_path: Path,
    job: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its file system may be unmounted, and all jobs would be started again."""
    folder = job("true")
    first = queue.ensure(folder)
    wait_until_ended(queue, first.id)
    wait_until(lambda: not processes_of(queue_path), "the wrapper has ended")
    away = queue_path.rename(queue_path.with_name("away"))
    queue_path.mkdir()
    for request in (
        lambda: queue.ensure(folder),
        lambda: queue.submit("other", folder),
        lambda: queue.statuses([first.id]),
        queue.jobs,
    ):
        with pytest.raises(tej.RemoteCommandFailure, match=r"existed at .* mounted"):
            request()
    assert not any(queue_path.iterdir())
    queue_path.rmdir()
    away.rename(queue_path)
    assert not queue.ensure(folder).is_new
    # A queue that this client has removed is created again, even if the reply to the
    # removal was lost.
    run, is_lost = queue.transport.run, iter([True])

    def lose_reply(*arguments: Any) -> Completed:
        done = run(*arguments)
        if next(is_lost, False):
            raise tej.ConnectionFailed("The reply is lost")
        return done

    with monkeypatch.context() as patch:
        patch.setattr(queue.transport, "run", lose_reply)
        queue.cleanup()
    assert queue.ensure(folder).is_new
    wait_until_ended(queue, first.id)
    wait_until(lambda: not processes_of(queue_path), "the wrapper has ended")
    queue_path.rename(away)
    queue.setup()
    assert queue.jobs() == []


def test_queue_on_an_unmounted_file_system_is_not_missing(
    require: Require, tmp_path: Path, job: Make
) -> None:
    require("unshare")
    place, fstab = tmp_path / "my scratch disk", tmp_path / "fstab"
    place.mkdir()
    escaped = str(place).replace(" ", r"\040")
    fstab.write_text(f"none /\n# /dev/a {tmp_path} ext4\n/dev/b {escaped}/ ext4")
    bind = shlex.quote(f'mount --bind {fstab} /etc/fstab && exec "$@"')
    server = Within(f"unshare --mount sh -c {bind} sh")
    queue = open_queue(place / "queue", server)
    for request in (queue.jobs, lambda: queue.submit("a", job("true"))):
        with pytest.raises(tej.RemoteCommandFailure, match=r"disk' is not mounted"):
            request()
    assert not any(place.iterdir())
    with pytest.raises(tej.QueueNotFound):
        open_queue(tmp_path / "queue", server).jobs()
    with mounted("-t", "tmpfs", "none", place), pytest.raises(tej.QueueNotFound):
        queue.jobs()
    # A container may have only a directory of the file system.
    (inner := place / "user").mkdir()
    with mounted("-t", "tmpfs", "none", inner), pytest.raises(tej.QueueNotFound):
        open_queue(inner / "queue", server).jobs()
    queue.setup()
    assert queue.jobs() == []


def test_many_missing_jobs_need_one_list(
    queue: tej.RemoteQueue, queue_path: Path, doubles: Doubles
) -> None:
    queue.setup()
    log = queue_path.parent / "log"
    doubles.add("ls", f'echo "$*" >>"{log}"\nexec "$real" "$@"')
    ids = [f"missing{number}" for number in range(20)]
    assert queue.kill_many(ids) == dict.fromkeys(ids)
    found = queue.delete_many(ids)
    assert {type(one) for one in found.values()} == {tej.JobNotFound}
    assert len(log.read_text().splitlines()) < len(ids)


def test_requests_for_one_job_do_not_list_the_queue(
    queue: tej.RemoteQueue, queue_path: Path, job: Make, doubles: Doubles
) -> None:
    """A list takes long in a queue of many jobs."""
    queue.submit("first", job("true"))
    log = queue_path.parent / "log"
    doubles.add(
        "ls",
        f'case "$*" in *"{queue_path}/jobs"*) echo "$*" >>"{log}" ;; esac\n'
        'exec "$real" "$@"',
    )
    queue.submit("second", job("true"))
    assert set(queue.wait(["first", "second"])) == {"first", "second"}
    assert queue.status("first").succeeded
    with pytest.raises(tej.JobNotFound):
        queue.status("third")
    queue.kill("first")
    queue.delete("first")
    lines = log.read_text().splitlines() if log.exists() else []
    assert [line for line in lines if not line.startswith("-d ")] == []
    assert queue.jobs()
    assert log.read_text().splitlines()[-1].startswith("-a ")
