"""Summary of jobs: how many jobs are done, failed, running and queued."""

from __future__ import annotations

from collections.abc import Iterable

from tej.job.status import JobState, JobStatus


def summarize(jobs: Iterable[JobStatus | None], total: int | None = None) -> str:
    """Return how many jobs are in each state, as "12/30 done, 2 failed, 1 running".

    "failed" counts the jobs that ended without success, and "done" includes these jobs.
    `total` is the number of all jobs, if `jobs` contains only jobs with a known status.
    """
    known = [job for job in jobs if job is not None]
    ended = [job for job in known if job.state.final]
    failed = sum(not job.succeeded for job in ended)
    waiting = sum(job.state in (JobState.CREATED, JobState.QUEUED) for job in known)
    running = sum(job.state is JobState.RUNNING for job in known)
    words = f"{len(ended)}/{len(known) if total is None else total} done"
    for number, state in ((failed, "failed"), (running, "running")):
        words += f", {number} {state}" if number else ""
    return words + (f", {waiting} queued" if waiting else "")
