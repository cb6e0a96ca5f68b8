"""Summary of jobs: the numbers of jobs that are done, failed, running and queued."""

from __future__ import annotations

from collections.abc import Iterable

from tej.job.status import JobState, JobStatus


def summarize(jobs: Iterable[JobStatus | None], total: int | None = None) -> str:
    """Return the numbers of jobs by state: "12/30 done, 2 failed, 1 running".

    "done" includes "failed", which means jobs that ended without success.  `total` is
    the number of all jobs, if `jobs` contains only the jobs whose status is known.
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
