"""Selection of jobs: labels, filters, sort orders and sizes; cleanup and prune."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobs import Gate, wait_until

import tej
from tej import JobState, JobStatus
from tej.queue.job_filters import select
from tej.queue.prune import jobs_to_prune

if TYPE_CHECKING:
    from tests.cli.conftest import Command

Make = Callable[..., Path]


@pytest.fixture
def three(local_queue: tej.RemoteQueue, job: Make, gate: Gate) -> None:
    """Create three jobs:

    "good" and "bad" have ended, in that order, and "runs" runs.
    """
    labels = {"project": "x", "run": "1"}
    local_queue.submit(
        "good", job("true", {"data": b"x" * 300_000}, "good"), labels=labels
    )
    local_queue.submit("bad", job("exit 2", name="bad"), labels={"project": "x"})
    local_queue.wait(["good", "bad"])
    local_queue.submit("runs", job(gate.wait, name="runs"))
    wait_until(
        lambda: local_queue.status("runs").state is JobState.RUNNING, "the job runs"
    )


# Labels


def test_labels_come_back_as_they_were_given(queue: tej.RemoteQueue, job: Make) -> None:
    labels = {"key": "value", "a b=c": "é\n'x' = \"y\"", "empty": "", "end": "end"}
    handle = queue.ensure(job("true"), labels=labels)
    assert handle.status().labels == labels
    assert [one.job_id for one in queue.jobs(labels={"a b=c": labels["a b=c"]})] == [
        handle.id
    ]
    assert queue.jobs(labels={"key": "other"}) == []


def test_labels_are_not_part_of_the_signature(
    command: Command, own: dict[str, str], job: Make
) -> None:
    directory = job("true")
    first = command("submit", directory, "--reuse", "--label", "a=1", **own)
    second = command("submit", directory, "--reuse", "--label", "a=2", **own)
    assert first.stdout == second.stdout
    assert (first.stderr, second.stderr) == ("Job submitted as:\n", "Job found as:\n")
    assert command("signature", directory, **own).stdout == first.stdout


# Lists


def test_list_applies_filters_and_order(
    command: Command, own: dict[str, str], three: None
) -> None:
    for options, expected in (
        ([], ["bad", "good", "runs"]),
        (["--state", "finished"], ["bad", "good"]),
        (["--state", "running", "--state", "killed"], ["runs"]),
        (["--state", "lost"], []),
        (["--label", "project=x"], ["bad", "good"]),
        (["--label", "project=x", "--label", "run=1"], ["good"]),
        (["--label", "project=y"], []),
        (["--since", "1h"], ["bad", "good", "runs"]),
        (["--since", "2099-01-01"], []),
        (["--sort", "submitted", "--state", "running"], ["runs"]),
        (["--sort", "state"], ["runs", "bad", "good"]),
    ):
        done = command("list", "--json", *options, **own)
        assert [one["id"] for one in done.json["jobs"]] == expected, options


def test_job_in_json_has_all_fields(
    command: Command, own: dict[str, str], three: None
) -> None:
    done = command("list", "--json", **own)
    bad, good, runs = done.json["jobs"]
    assert (
        set(bad)
        == set(good)
        == set(runs)
        == {*JobStatus("a", JobState.CREATED, PurePosixPath("/")).as_dict(), "error"}
    )
    assert (bad["state"], bad["exit_code"], bad["final"]) == ("finished", 2, True)
    assert good["labels"] == {"project": "x", "run": "1"}
    assert (runs["state"], runs["exit_code"], runs["ended"]) == ("running", None, None)
    for document in (bad, good):
        times = [
            datetime.fromisoformat(document[key])
            for key in ("submitted", "started", "ended")
        ]
        assert times == sorted(times)
        assert document["duration"] == (times[2] - times[1]).total_seconds()
        assert document["host"]


def test_sizes_are_in_bytes(
    command: Command, own: dict[str, str], three: None, local_queue: tej.RemoteQueue
) -> None:
    sizes = local_queue.sizes()
    assert set(sizes) == {"good", "bad", "runs"}
    assert 300_000 <= sizes["good"] < 600_000
    done = command("list", "--sizes", "--state", "finished", **own)
    assert (
        done.stdout
        == f"bad finished {sizes['bad']} 2\ngood finished {sizes['good']} 0\n"
    )
    document = command("list", "--sizes", "--json", **own).json
    sizes_in_json = {one["id"]: one["size"] for one in document["jobs"]}
    assert sizes_in_json == local_queue.sizes()
    usage = local_queue.disk_usage()
    assert document["disk_usage"]["total"] == usage.total >= sum(sizes.values())
    assert document["disk_usage"]["store"] == usage.store
    assert "Total " in done.stderr


def test_invalid_filter_is_wrong_usage(command: Command, own: dict[str, str]) -> None:
    for option in ("--since=soon", "--since=3x", "--sort=size", "--label=x"):
        done = command("list", option, **own)
        assert (done.status, done.stdout) == (2, ""), option


# Cleanup


def test_cleanup_deletes_matching_ended_jobs_only(
    command: Command, own: dict[str, str], three: None, local_queue: tej.RemoteQueue
) -> None:
    # Times of jobs are in whole seconds.
    wait_until(
        lambda: all(
            one.ended is None
            or datetime.now(timezone.utc) - one.ended > timedelta(seconds=1)
            for one in local_queue.jobs()
        ),
        "they are older than none",
    )
    cases = [
        (["--older-than", "30d"], []),
        (["--keep-last", "2"], []),
        (["--state", "finished"], ["bad", "good"]),
        (["--state", "running"], []),
        (["--label", "run=1"], ["good"]),
        (["--older-than", "0s", "--label", "run=1"], ["good"]),
    ]
    # The order of two jobs that ended in the same second is unknown.
    if local_queue.status("good").ended != local_queue.status("bad").ended:
        cases.append((["--keep-last", "1"], ["good"]))
    for options, gone in cases:
        would = command("cleanup", "--dry-run", *options, **own)
        assert sorted(would.stdout.splitlines()) == [
            f"Would delete job '{name}'" for name in gone
        ]
    assert len(local_queue.jobs()) == 3
    for options, name in (
        (["--label", "run=1"], "good"),
        (["--keep-last", "0"], "bad"),
    ):
        done = command("cleanup", *options, **own)
        assert done.stdout.splitlines() == [f"Deleted job '{name}'"]
    assert [one.job_id for one in local_queue.jobs()] == ["runs"]


def test_cleanup_in_json_lists_deleted_jobs(
    command: Command, own: dict[str, str], three: None
) -> None:
    (would,) = command(
        "cleanup", "--dry-run", "--label", "run=1", "--json", **own
    ).json["jobs"]
    (document,) = command("cleanup", "--label", "run=1", "--json", **own).json["jobs"]
    assert (would["id"], would["deleted"]) == ("good", False)
    assert (document["id"], document["deleted"]) == ("good", True)


def test_cleanup_with_filter_kills_no_job(
    command: Command, own: dict[str, str], three: None, local_queue: tej.RemoteQueue
) -> None:
    done = command("cleanup", "--kill", "--keep-last", "0", **own)
    assert (done.status, done.stdout) == (2, "")
    assert len(local_queue.jobs()) == 3


def test_cleanup_without_filter_needs_ended_jobs(
    command: Command,
    own: dict[str, str],
    three: None,
    gate: Gate,
    local_queue: tej.RemoteQueue,
) -> None:
    for verb in ("cleanup", "destroy"):
        done = command(verb, **own)
        assert done.status == 2
        assert "tej prune" in done.stderr
        assert ("tej destroy" if verb == "cleanup" else "3 jobs (") in done.stderr
    assert ", 1 not ended), results included" in done.stderr
    assert command("cleanup", "--yes", **own).status == 5
    assert len(local_queue.jobs()) == 3
    gate.open()
    local_queue.wait(["runs"])
    assert command("destroy", "--yes", **own).status == 0
    with pytest.raises(tej.RemoteCommandFailure, match="missing now"):
        local_queue.jobs()


# Selection of the jobs to delete

NOW = datetime(2026, 11, 22, tzinfo=timezone.utc)


def some_jobs(ends: list[tuple[JobState, int, int]]) -> list[JobStatus]:
    return [
        JobStatus(
            f"job{number}",
            state,
            PurePosixPath("/"),
            ended=NOW - timedelta(hours=hours) if state.final else None,
            processes_left=left,
            reported=NOW,
        )
        for number, (state, hours, left) in enumerate(ends)
    ]


@given(
    st.lists(
        st.tuples(st.sampled_from(JobState), st.integers(0, 100), st.integers(0, 1)),
        max_size=12,
    ),
    st.none() | st.integers(0, 100),
    st.integers(0, 5),
)
def test_prune_selects_only_old_ended_jobs(
    ends: list[tuple[JobState, int, int]], hours: int | None, keep: int
) -> None:
    jobs = some_jobs(ends)
    older = None if hours is None else timedelta(hours=hours)
    chosen = jobs_to_prune(jobs, older_than=older, keep_last=keep)
    ended = [job for job in jobs if job.state.final and not job.processes_left]
    kept = [job for job in ended if job not in chosen]
    assert all(job in ended for job in chosen)
    assert len(kept) >= min(keep, len(ended))
    for job in chosen:
        assert job.ended is not None
        assert older is None or NOW - job.ended > older
        assert sum(one.ended >= job.ended for one in kept if one.ended) >= keep
    assert select(jobs) == jobs


def test_prune_in_a_script_needs_filter_and_yes(
    command: Command, own: dict[str, str], three: None, local_queue: tej.RemoteQueue
) -> None:
    done = command("prune", **own)
    assert (done.status, done.stdout) == (2, "")
    done = command("prune", "--all", **own)
    assert (done.status, done.stdout) == (2, "")
    loss = r"would delete 2 jobs \([0-9.]+ [kM]?B, 2 not yet downloaded\) of queue"
    assert re.search(loss, done.stderr)
    assert "add --yes" in done.stderr
    (one,) = command("prune", "--failed", "--dry-run", "--json", **own).json["jobs"]
    assert (one["id"], one["deleted"], one["size"] > 0) == ("bad", False, True)
    assert len(local_queue.jobs()) == 3
    done = command("prune", "--all", "--yes", **own)
    assert done.status == 0
    assert len(done.stdout.splitlines()) == 2
    assert done.stderr == "Not downloaded before deletion: 2 of 2 jobs\n"
    assert [job.state for job in local_queue.jobs()] == [JobState.RUNNING]
    done = command("prune", "--all", **own)
    assert (done.status, done.stderr) == (0, "No job matches\n")
