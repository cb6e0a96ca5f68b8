"""Search for a job by id, unique prefix of an id, name, or position."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone

from tej.errors import AmbiguousJob
from tej.job.status import JobStatus

_POSITION = re.compile(r"@(?:([0-9]{1,9}))?")
_LONG_AGO = datetime.min.replace(tzinfo=timezone.utc)
SHOWN = 10
"""Maximum number of jobs that the message of AmbiguousJob lists."""


def newest_first(jobs: Iterable[JobStatus]) -> list[JobStatus]:
    """Return the jobs in the order of submission, newest first.

    The time of submission has a resolution of one second.  Jobs that were submitted in
    the same second are ordered by `JobStatus.sequence`.  Of these jobs, a job that has
    not been passed to its runtime yet counts as the newest.
    """

    def key(job: JobStatus) -> tuple[datetime, bool, int, str]:
        waits = job.sequence is None and not job.state.final
        return job.submitted or _LONG_AGO, waits, job.sequence or 0, job.job_id

    return sorted(jobs, key=key, reverse=True)


def find_job(word: str, jobs: Sequence[JobStatus]) -> JobStatus | None:
    """Return the job that `word` refers to, or None if there is no such job.

    `word` is an id, the start of exactly one id, the name of exactly one job, or `@N`
    for the N-th job of `jobs`, which `newest_first` has ordered.  `@` is `@1`.  An id
    takes precedence over a prefix and a name.  Raises AmbiguousJob if a prefix or a
    name matches several jobs.
    """
    if position := _POSITION.fullmatch(word):
        number = int(position[1] or 1)
        return jobs[number - 1] if 1 <= number <= len(jobs) else None
    for job in jobs:
        if job.job_id == word:
            return job
    found = [job for job in jobs if job.name == word or job.job_id.startswith(word)]
    if len(found) > 1:
        lines = [
            f"  {job.job_id}  {job.state}  {_time(job.submitted)}  {job.name}".rstrip()
            for job in found[:SHOWN]
        ]
        if len(found) > SHOWN:
            lines.append(f"  and {len(found) - SHOWN} more")
        raise AmbiguousJob(
            f"'{word}' matches {len(found)} jobs; use an id, or a longer prefix:\n"
            + "\n".join(lines)
        )
    return found[0] if found else None


def _time(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.astimezone():%F %T}"
