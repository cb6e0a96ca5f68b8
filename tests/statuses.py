"""Statuses of jobs that no server has reported, for tests without a server."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import PurePosixPath
from typing import Any

from tej import JobState, JobStatus

NOW = datetime(2026, 1, 10, tzinfo=timezone.utc)


def job(job_id: str, state: str = "finished", days: int = 0, **facts: Any) -> JobStatus:
    """Return a job that ended some days before NOW."""
    kind = JobState(state)
    exit_code = 0 if state == "finished" else None
    facts = {"exit_code": exit_code, "reported": NOW} | facts
    facts = {"ended": NOW - timedelta(days) if kind.final else None} | facts
    return JobStatus(job_id, kind, PurePosixPath("/"), **facts)


def ids(jobs: list[JobStatus]) -> str:
    return "".join(job.job_id for job in jobs)
