"""Status of a job: times, in any time zone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import PurePosixPath

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
