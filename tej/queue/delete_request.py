"""Deletion of jobs: send the request, and report jobs that were not deleted.

The server's `commands/delete` decides whether a job can be deleted, and otherwise
reports the reason.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from tej.errors import JobNotFound, JobStillRunning
from tej.job.job_id import check_job_reference
from tej.job.status import JobStatus
from tej.queue.connection import QueueConnection
from tej.wire.records import parse_status
from tej.wire.replies import ParsedReply, is_missing, only_requested

logger = logging.getLogger("tej")


def delete(connection: QueueConnection, job_id: str) -> None:
    """Delete one job; raise JobNotFound or JobStillRunning if it is not deleted."""
    if error := delete_many(connection, [job_id])[job_id]:
        raise error


def delete_many(
    connection: QueueConnection, jobs: Iterable[str | JobStatus]
) -> dict[str, JobNotFound | JobStillRunning | None]:
    """Delete several jobs; see `RemoteQueue.delete_many`."""
    selected: dict[str, str] = {}
    for job in jobs:
        if isinstance(job, str):
            selected[check_job_reference(job)] = "-"
        elif job.token:
            selected[job.job_id] = f"/{job.token}"
        elif job.submitted is None:
            selected[job.job_id] = "-"
        else:
            selected[job.job_id] = str(int(job.submitted.timestamp()))
    return _delete(connection, selected)


def delete_unchanged(
    connection: QueueConnection, jobs: Iterable[JobStatus]
) -> list[JobStatus]:
    """Delete jobs, except jobs that were submitted again since their status was read.

    Returns the status of each job that was deleted.
    """
    chosen = list(jobs)
    errors = delete_many(connection, chosen)
    return [job for job in chosen if errors[job.job_id] is None]


def _delete(
    connection: QueueConnection, selected: Mapping[str, str]
) -> dict[str, JobNotFound | JobStillRunning | None]:
    """Delete the jobs in `selected`, which maps a job id to a property of the job.

    The server deletes a job only if it has this property: "/" and its token, or the
    time of its submission in seconds since 1970.  Every job has the property "-".
    """
    pairs = [*selected.items()]
    found: dict[str, JobNotFound | JobStillRunning | None] = {}
    for start in range(0, len(pairs), _DELETED_TOGETHER):
        found |= _delete_together(
            connection, dict(pairs[start : start + _DELETED_TOGETHER])
        )
    return found


_DELETED_TOGETHER = 2000
"""Maximum number of jobs in one request; a shell with more arguments forks slowly."""


def _delete_together(
    connection: QueueConnection, selected: Mapping[str, str]
) -> dict[str, JobNotFound | JobStillRunning | None]:
    """Delete the jobs in `selected` by one request; see `_delete`."""
    words = [word for pair in selected.items() for word in pair]

    def attempt(failures: int) -> dict[str, JobNotFound | JobStillRunning | None]:
        answer = connection.request_once("delete", *words)
        for record in answer.jobs:
            if "elsewhere" in record:
                logger.warning("Job '%s' was deleted; %s", record["id"], record["note"])
            if "warning" in record:
                logger.warning("%s", record["warning"])
        # After a repeated request, a job that does not exist counts as deleted, because
        # an earlier request, whose reply was lost, may have deleted the job.
        found = {
            record["id"]: None
            if "deleted" in record or (failures and is_missing(record))
            else _not_deleted(connection, record, answer)
            for record in answer.jobs
        }
        return only_requested(found, selected)

    return connection.with_retries(attempt)


def _not_deleted(
    connection: QueueConnection, record: Mapping[str, str], answer: ParsedReply
) -> JobNotFound | JobStillRunning:
    if is_missing(record):
        return connection.job_not_found(record["id"])
    status = parse_status(record, answer.head)
    # Older server scripts report no reason if the job has not ended.
    why = status.note or f"it is {status.state}"
    return JobStillRunning(f"Job '{status.job_id}' was not deleted; {why}")
