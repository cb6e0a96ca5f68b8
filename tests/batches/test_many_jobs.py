"""Requests for many jobs: one round trip, and a separate outcome for each job."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from facts import make_ended_job, script_of, wrapper_of
from faults.clients import continue_together
from jobs import Gate, is_alive, wait_until, wait_until_started

import tej
from tej import JobState

if TYPE_CHECKING:
    from tests.batches.conftest import RoundTrips
    from tests.cli.conftest import Command
    from tests.faults.clients import Client

Make = Callable[..., Path]
NAMES = [f"job{number:02}" for number in range(12)]


@pytest.fixture
def many(queue: tej.RemoteQueue, job: Make) -> list[str]:
    """Return the ids of ended jobs, each with its id in the file `results`."""
    directory = job(
        'echo "$TEJ_JOB_ID" >results; mkdir sub; echo x | tee sub/x >"only $TEJ_JOB_ID"'
    )
    specs = (tej.JobSpec(directory, job_id=name) for name in NAMES)
    outcomes = [*queue.submit_many(specs)]
    assert [outcome.job_id for outcome in outcomes] == NAMES
    queue.wait(NAMES)
    return NAMES


@pytest.fixture
def running(
    queue: tej.RemoteQueue, queue_path: Path, job: Make, gate: Gate
) -> Iterator[list[str]]:
    """Return the ids of running jobs that wait at the gate."""
    directory = job(gate.wait)
    for outcome in queue.submit_many(
        tej.JobSpec(directory, job_id=name) for name in NAMES
    ):
        assert outcome.error is None
    wait_until_started(queue_path, *NAMES)
    yield NAMES
    gate.open()


# Submission


def test_submit_many_takes_one_round_trip(
    queue: tej.RemoteQueue, job: Make, round_trips: RoundTrips
) -> None:
    directory = job("true")
    queue.submit("taken", directory)
    round_trips()
    specs = [tej.JobSpec(directory, job_id=name) for name in ("a", "taken", "b")]
    a, taken, b = queue.submit_many(specs)
    assert round_trips() == 1
    assert isinstance(taken.error, tej.JobAlreadyExists)
    for outcome in (a, b):
        assert (outcome.error, outcome.is_new) == (None, True)
        assert outcome.status is not None
        assert outcome.status.state in (JobState.RUNNING, JobState.FINISHED)
    assert set(queue.wait(["a", "taken", "b"])) == {"a", "taken", "b"}


def test_records_of_many_started_jobs_are_complete(
    local_queue: tej.RemoteQueue, job: Make, gate: Gate, queue_path: Path
) -> None:
    directory = job(gate.wait)
    specs = [tej.JobSpec(directory, job_id=name) for name in NAMES]
    specs[3] = replace(specs[3], resources=tej.Resources(cpus=2))
    # Linux limits each variable to 128 KiB.
    specs[2] = replace(specs[2], labels={"long": "x" * 140_000})
    outcomes = local_queue.submit_many(specs)
    wait_until_started(queue_path, *NAMES)
    found = local_queue.statuses(NAMES)
    gate.open()
    for outcome in outcomes:
        assert outcome.is_new
        assert outcome.status is not None
        status = found[outcome.job_id]
        assert status is not None
        assert (status.state, status.host) == (JobState.RUNNING, socket.gethostname())
        if outcome.status.started is None:
            # On a busy machine, the server replies before the script has started.
            status = replace(
                status, state=JobState.CREATED, started=None, host=outcome.status.host
            )
        assert replace(outcome.status, duration=None) == replace(status, duration=None)
    assert "runtime default ignores: cpus" in str(
        outcomes[3].status and outcomes[3].status.note
    )


def test_invalid_job_does_not_affect_others(
    local_queue: tej.RemoteQueue, job: Make, tmp_path: Path
) -> None:
    specs = [
        tej.JobSpec(job("echo first", name="first")),
        tej.JobSpec(tmp_path / "absent"),
        tej.JobSpec(job("true", name="bad"), job_id="not / legal"),
        tej.JobSpec(job("echo last", name="last")),
    ]
    for how in (local_queue.submit_many, local_queue.ensure_many):
        first, absent, illegal, last = how(specs)
        assert isinstance(absent.error, tej.InvalidJobDirectory)
        assert isinstance(illegal.error, tej.InvalidJobId)
        assert (first.is_new, last.is_new) == (True, True)
        ended = local_queue.wait([first.job_id, last.job_id])
        assert all(status.succeeded for status in ended.values())


def test_jobs_without_ids_get_unique_ids(
    local_queue: tej.RemoteQueue, job: Make
) -> None:
    directory = job("true", name="dir")
    ids = [one.job_id for one in local_queue.submit_many([tej.JobSpec(directory)] * 3)]
    assert len(set(ids)) == 3
    assert all(job_id.startswith("dir_") for job_id in ids)


def test_duplicate_id_in_one_call_is_refused(
    local_queue: tej.RemoteQueue, job: Make
) -> None:
    spec = tej.JobSpec(job("true"), job_id="a")
    first, second = local_queue.submit_many([spec, spec])
    assert first.error is None
    assert isinstance(second.error, tej.JobAlreadyExists)


def test_concurrent_submits_start_each_id_once(
    client: Callable[[str], Client],
    local_queue: tej.RemoteQueue,
    job: Make,
    tmp_path: Path,
) -> None:
    directory = job(f"echo started >>'{tmp_path}/starts'")
    lines = (
        f"folder = {str(directory)!r}\n"
        "specs = [tej.JobSpec(folder, job_id=f'job{n}') for n in range(10)]\n"
        "pause()\n"
        "outcomes = list(queue.submit_many(specs))\n"
        "refused = [one.error for one in outcomes if not one.is_new]\n"
        "assert all(isinstance(one, tej.JobAlreadyExists) for one in refused)\n"
        "print(sum(outcome.is_new for outcome in outcomes))"
    )
    clients = [client(lines) for _ in range(3)]
    continue_together(clients)
    assert sum(int(one.finish()) for one in clients) == 10
    local_queue.wait([f"job{n}" for n in range(10)])
    assert len((tmp_path / "starts").read_text().splitlines()) == 10


# Status, wait and delete


def test_wait_for_many_jobs_reports_each_end(
    local_queue: tej.RemoteQueue, job: Make, gate: Gate, queue_path: Path
) -> None:
    gated = job(gate.wait)
    for name in ("gated", "orphaned"):
        local_queue.submit(name, gated)
    facts = queue_path / "jobs/orphaned"
    wait_until((facts / "started").exists, "the job has started")
    for pid in (wrapper_of(facts), script_of(facts)):
        os.kill(pid, signal.SIGKILL)
    # More than 100 jobs: the ends are then signalled to the wait.
    ended = [f"ended{number}" for number in range(105)]
    for name in ended:
        make_ended_job(queue_path, name)
    ends = local_queue.as_completed([*ended, "gated", "orphaned"])
    found = dict(next(ends) for _ in range(106))
    assert found.pop("orphaned").state is JobState.LOST
    assert {*found} == {*ended}
    gate.open()
    assert [name for name, status in ends if status.succeeded] == ["gated"]
    # The wrapper writes to this file only if a client waits for more than 100 jobs.
    assert (queue_path / "jobs/.ended").read_text().startswith("gated ")


def test_status_wait_and_delete_take_one_round_trip(
    queue: tej.RemoteQueue, many: list[str], round_trips: RoundTrips
) -> None:
    round_trips()
    statuses = queue.statuses([*many, "absent"])
    assert round_trips() == 1
    assert [*statuses] == [*many, "absent"]
    assert statuses["absent"] is None
    assert all(statuses[name].succeeded for name in many)  # type: ignore[union-attr]
    assert [*queue.wait(many)] == many
    assert round_trips() == 1
    gone = queue.delete_many([*many, "absent"])
    assert round_trips() == 1
    assert [name for name in many if gone[name] is not None] == []
    assert isinstance(gone["absent"], tej.JobNotFound)
    assert queue.jobs() == []


# Download


def test_download_many_takes_one_round_trip(
    queue: tej.RemoteQueue, many: list[str], round_trips: RoundTrips, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    round_trips()
    done = queue.download_many(many, ["results", "_stdout"], directory=out)
    assert round_trips() == 1
    assert [*done] == many
    for name in many:
        assert done[name].error is None
        assert sorted(done[name].files) == [
            out / name / "_stdout",
            out / name / "results",
        ]
        assert (out / name / "results").read_text() == f"{name}\n"


def test_each_job_has_its_own_patterns(
    queue: tej.RemoteQueue, many: list[str], tmp_path: Path
) -> None:
    wanted: dict[str, str | list[str]] = {
        many[0]: f"only {many[0]}",
        many[1]: [],
        many[2]: ["res*", "sub/x"],
    }
    done = queue.download_many(wanted, directory=tmp_path / "out", flatten=True)
    out = tmp_path / "out"
    assert done[many[0]].files == [out / many[0] / f"only {many[0]}"]
    assert done[many[1]].files == []
    assert {path.name for path in done[many[2]].files} == {"results", "x"}
    assert (out / many[2] / "x").exists()


def test_missing_file_affects_only_its_job(
    queue: tej.RemoteQueue, many: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    wanted = [many[0], "absent", many[1], many[2]]
    files = ["sub/x", f"only {many[1]}"]
    done = queue.download_many(wanted, files, directory=out)
    assert isinstance(done["absent"].error, tej.JobNotFound)
    assert "No job 'absent'" in str(done["absent"].error)
    for name in (many[0], many[2]):
        assert isinstance(done[name].error, tej.DownloadFailed)
        assert f"There is no 'only {many[1]}' in job '{name}'" in str(done[name].error)
    assert done[many[1]].error is None
    assert {*done[many[1]].files} == {out / many[1] / name for name in files}


def test_unwritable_target_fails_only_its_job(
    queue: tej.RemoteQueue, many: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (out / many[0] / "results").mkdir(parents=True)
    done = queue.download_many(many[:3], "results", directory=out)
    assert isinstance(done[many[0]].error, tej.DownloadFailed)
    assert [done[name].error for name in many[1:3]] == [None, None]


def test_files_and_mapping_cannot_be_combined(
    local_queue: tej.RemoteQueue,
) -> None:
    with pytest.raises(TypeError):
        local_queue.download_many({"a": "b"}, "c")


def test_command_downloads_from_many_jobs(
    command: Command, local_queue: tej.RemoteQueue, job: Make, queue_path: Path
) -> None:
    for name in ("a", "b"):
        local_queue.submit(name, job(f"echo {name} >results", name=name))
    local_queue.wait(["a", "b"])
    words = ["download", "local:", "--queue", queue_path, "--id", "a", "--id", "b"]
    done = command(*words, "results", "--directory", "out")
    assert (done.status, done.stdout, done.stderr) == (0, "", "")
    assert (command.place / "out/b/results").read_text() == "b\n"
    done = command(*words, "--id", "c", "results", "--json")
    assert done.status == 3
    a, b, c = done.json["jobs"]
    done_well = {"skipped": False, "error": None}
    assert a == {"id": "a", "files": ["a/results"], **done_well}
    assert b == {"id": "b", "files": ["b/results"], **done_well}
    assert (c["id"], c["files"], c["error"]["kind"]) == ("c", [], "JobNotFound")
    done = command(*words, "absent")
    assert done.status == 1
    assert done.stderr == "".join(
        f"{name}: There is no 'absent' in job '{name}'\n" for name in "ab"
    )


# Kill


def test_kill_many_takes_one_round_trip(
    queue: tej.RemoteQueue, running: list[str], round_trips: RoundTrips
) -> None:
    round_trips()
    outcomes = queue.kill_many([*running, "absent"], grace=30)
    assert round_trips() == 1
    assert [*outcomes] == [*running, "absent"]
    assert outcomes["absent"] is None
    for name in running:
        outcome = outcomes[name]
        assert outcome is not None
        assert outcome.was is JobState.RUNNING
        assert outcome.status.state is JobState.KILLED
        assert outcome.status.signal == signal.SIGTERM


def test_all_jobs_get_sigterm_before_any_sigkill(
    local_queue: tej.RemoteQueue, job: Make, gate: Gate, queue_path: Path
) -> None:
    directory = job(f"trap ': >>asked' TERM; echo deaf; {gate.wait}")
    names = [f"deaf{number}" for number in range(8)]
    [*local_queue.submit_many(tej.JobSpec(directory, job_id=name) for name in names)]
    for name in names:
        wait_until(lambda: [*local_queue.logs(name)], "SIGTERM is ignored")
    outcomes = local_queue.kill_many(names, grace=3)
    for outcome in outcomes.values():
        assert outcome is not None
        assert outcome.status.state is JobState.KILLED
        assert outcome.status.signal == signal.SIGKILL
        assert outcome.status.processes_left == 0
    asked = [path.stat().st_mtime for path in queue_path.glob("jobs/*/stage/asked")]
    ended = [path.stat().st_mtime for path in queue_path.glob("jobs/*/finished")]
    assert len(asked) == len(ended) == len(names)
    assert max(asked) < min(ended)


def test_each_job_may_clean_up_during_kill(
    local_queue: tej.RemoteQueue, job: Make, gate: Gate
) -> None:
    tidy = job(
        f"trap 'echo cleaned; exit 9' TERM; echo ready; {gate.wait}", name="tidy"
    )
    deaf = job(f"trap '' TERM; echo ready; {gate.wait}", name="deaf")
    for name, directory in (("deaf", deaf), ("tidy", tidy)):
        local_queue.submit(name, directory)
        wait_until(lambda: [*local_queue.logs(name)] == [b"ready\n"], "the trap is set")
    outcomes = local_queue.kill_many(["deaf", "tidy"], grace=2)
    killed = outcomes["tidy"]
    assert killed is not None
    assert (killed.status.state, killed.status.exit_code) == (JobState.KILLED, 9)
    assert b"".join(local_queue.logs("tidy")) == b"ready\ncleaned\n"
    other = outcomes["deaf"]
    assert other is not None
    assert other.status.signal == signal.SIGKILL


def test_kill_many_reaches_leftovers_but_no_stranger(
    local_queue: tej.RemoteQueue,
    job: Make,
    gate: Gate,
    queue_path: Path,
    tmp_path: Path,
) -> None:
    leaver = job(
        f"({gate.wait}) >/dev/null 2>&1 & echo $! >'{tmp_path}/left'", name="leaver"
    )
    local_queue.submit("leaver", leaver)
    local_queue.submit("runs", job(gate.wait, name="runs"))
    local_queue.submit("lost", job(gate.wait, name="lost"))
    local_queue.wait(["leaver"])
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True
    ) as stranger:
        facts = queue_path / "jobs/lost"
        wait_until((facts / "started").exists, "the job has started")
        # Simulate that the pids of the job now belong to an unrelated process.
        for fact, field in (("native_id", 4), ("started", 2)):
            words = (facts / fact).read_text().split()
            os.killpg(int(words[field]), signal.SIGKILL)
            words[field] = str(stranger.pid)
            (facts / fact).write_text(" ".join(words) + "\n")
        outcomes = local_queue.kill_many(["leaver", "runs", "lost"], grace=5)
        assert stranger.poll() is None
        stranger.kill()
    assert [outcome and outcome.was for outcome in outcomes.values()] == [
        JobState.FINISHED,
        JobState.RUNNING,
        JobState.LOST,
    ]
    assert not is_alive(int((tmp_path / "left").read_text()))
    assert local_queue.status("leaver").succeeded
    assert local_queue.status("leaver").processes_left == 0


def test_kill_many_keeps_earlier_killed_jobs(
    queue: tej.RemoteQueue, running: list[str]
) -> None:
    before = queue.kill(running[0], grace=5)
    outcome = queue.kill_many(running[:2], grace=5)[running[0]]
    assert outcome is not None
    assert outcome.was is JobState.KILLED
    assert outcome.status == before
