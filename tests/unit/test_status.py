"""Status of a job: success, description, and times in any time zone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import pytest

from tej.job.status import JobState, JobStatus, from_timestamp


@pytest.fixture(params=["UTC0", "America/New_York", "Asia/Kolkata"])
def zone(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def test_times_are_utc_in_any_time_zone(zone: str) -> None:
    when = from_timestamp(1_700_000_000)
    assert when is not None
    assert when.isoformat() == "2023-11-14T22:13:20+00:00"
    status = JobStatus("a", JobState.FINISHED, PurePosixPath("/"), ended=when)
    assert status.as_dict()["ended"] == "2023-11-14T22:13:20+00:00"


def test_kill_time_is_shown_in_local_time(zone: str) -> None:
    status = JobStatus(
        "a",
        JobState.KILLED,
        PurePosixPath("/"),
        ended=from_timestamp(1_700_000_000),
        killed_by="me",
    )
    shown = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(1_700_000_000))
    assert f"by me at {shown}" in status.describe()


@pytest.mark.parametrize("seconds", [None, 10**14, 10**30])
def test_impossible_time_is_unknown(seconds: int | None) -> None:
    assert from_timestamp(seconds) is None


def test_only_an_uncut_exit_code_0_is_a_success() -> None:
    def status(state: JobState, **facts: Any) -> JobStatus:
        return JobStatus("a", state, PurePosixPath("/"), **facts)

    good = status(JobState.FINISHED, exit_code=0)
    assert (good.succeeded, good.failed, good.result) == (True, False, "0")
    for bad in (
        status(JobState.FINISHED, exit_code=1),
        status(JobState.FINISHED, signal=9),
        status(JobState.FINISHED, exit_code=0, cut_off="limit"),
        status(JobState.KILLED, exit_code=0),
        status(JobState.LOST),
    ):
        assert (bad.succeeded, bad.failed) == (False, True)
    for state in (JobState.CREATED, JobState.QUEUED, JobState.RUNNING):
        begun = status(state)
        assert (begun.succeeded, begun.failed, begun.result) == (False, False, None)
    assert status(JobState.FINISHED, signal=15).result == "143"


@pytest.mark.parametrize(
    ("state", "facts", "words"),
    [
        ("created", {}, "Job is created"),
        (
            "running",
            {"duration": 61.0, "host": "n1", "seen": 0},
            "Job is still running (1:01) on n1, last seen 0 s ago",
        ),
        ("running", {"duration": 5.0, "host": "n1"}, "Job is still running (0:05)"),
        ("running", {"seen": 4}, "Job is still running, last seen 4 s ago"),
        ("finished", {"duration": 5.0, "exit_code": 0}, "Job is finished (0:05)"),
        (
            "finished",
            {"duration": 5.0, "exit_code": 3, "processes_left": 1},
            "Job is finished (0:05) with exit code 3, 1 process left",
        ),
        (
            "killed",
            {"duration": 5.0, "signal": 15, "processes_left": 2},
            "Job was killed (0:05), ended by SIGTERM, 2 processes left",
        ),
        ("finished", {"exit_code": 1}, "Job is finished with exit code 1"),
        ("killed", {"killed_by": "a@b"}, "Job was killed by a@b before it started"),
        ("killed", {"note": "not started: b"}, "Job was killed; not started: b"),
        ("lost", {"evidence": "E", "note": "N"}, "Job is lost: E; N"),
    ],
)
def test_state_is_described(state: str, facts: dict[str, Any], words: str) -> None:
    status = JobStatus("a", JobState(state), PurePosixPath("/"), **facts)
    assert status.describe() == words
