"""Requests about existing jobs: status, list, kill and delete."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tej.errors import JobNotFound, JobStillRunning
from tej.job.job_id import check_job_id, check_job_reference
from tej.job.status import JobState, JobStatus
from tej.queue.connection import QueueConnection, check_job_ids, submitter
from tej.wire.framing import RecordSplitter
from tej.wire.records import parse_integer, parse_state, parse_status
from tej.wire.replies import (
    REPLY_LIMIT,
    ParsedReply,
    Record,
    malformed_reply,
    only_requested,
    parse_reply,
)

logger = logging.getLogger("tej")


@dataclass(frozen=True)
class Killed:
    """The outcome of `kill_many` for one job."""

    was: JobState
    """State of the job before the kill; if it is final, the job was not killed."""
    status: JobStatus
    """Status of the job after the kill."""
    strays: int = 0
    """Number of killed processes that an already ended job had left running."""


def get_statuses(
    connection: QueueConnection, job_ids: Iterable[str]
) -> dict[str, JobStatus | None]:
    """Return the status of each job; see `RemoteQueue.statuses`."""
    ids = check_job_ids(job_ids)
    if not ids:
        return {}
    found = {one.job_id: one for one in _parse(connection.request("status", *ids))}
    return {job_id: found.get(job_id) for job_id in ids}


def get_status(connection: QueueConnection, job_id: str) -> JobStatus:
    """Return the status of one job; raise JobNotFound if the job does not exist."""
    status = get_statuses(connection, [job_id])[job_id]
    if status is None:
        raise connection.job_not_found(job_id)
    return status


def get_jobs(
    connection: QueueConnection, *, last: int | None = None
) -> list[JobStatus]:
    """Return the status of every job, or of the `last` jobs that changed last."""
    if last is not None:
        head, jobs = _receive_statuses(connection, f"#{last}")
        # Older scripts, which stay in use if they cannot be replaced, do not support
        # the argument `#N`.
        if "recent" in head:
            return jobs
    return _receive_statuses(connection)[1]


def _receive_statuses(
    connection: QueueConnection, *words: str
) -> tuple[Record, list[JobStatus]]:
    """Return the head and the statuses of a reply to `status`.

    The records are parsed while the reply arrives, because the server takes seconds for
    a list of many jobs.
    """

    def attempt(_: int) -> tuple[Record, list[JobStatus]]:
        receiver = _StatusReceiver()
        connection.run_verb("status", *words, take=receiver.take)
        return receiver.finish()

    return connection.with_retries(attempt)


class _StatusReceiver:
    """Sink for a reply to `status`; parses each record as soon as it is complete."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._head = Record()
        self._jobs: list[JobStatus] = []
        self._splitter = RecordSplitter("status")
        self._size = 0
        self._ended = False

    def take(self, data: bytes) -> None:
        """Process the next piece of the reply; b"" marks the end of the reply."""
        if self._ended:
            # The server's scripts were upgraded, and the request is sent again.
            self._begin()
        self._ended = not data
        self._size += len(data)
        if self._size > REPLY_LIMIT:
            raise malformed_reply("status", "it is too long")
        self._parse(self._splitter.feed(data))

    def finish(self) -> tuple[Record, list[JobStatus]]:
        """Return the head and the statuses, after the request has succeeded.

        If the connection is lost, the last record may be incomplete, and `finish` must
        not be called.
        """
        self._parse(self._splitter.close())
        _require_queue(self._head)
        return self._head, self._jobs

    def _parse(self, words: bytes) -> None:
        answer = parse_reply(words)
        self._head.update(answer.head)
        self._jobs += _parse_records(answer.jobs, self._head)


def get_attempts(connection: QueueConnection, job_id: str) -> list[JobStatus]:
    """Return the archived attempts of a job; see `RemoteQueue.attempts`."""
    found = _parse(connection.request("status", f"{check_job_id(job_id)}#"))
    return sorted(found, key=lambda status: status.attempt)


@dataclass(frozen=True)
class DiskUsage:
    """Disk space that a queue uses on the server, in bytes, as `du` reports it."""

    total: int
    """Size of the whole queue, which includes the scripts of tej."""
    store: int
    """Size of the content store, which holds files for reuse by later uploads."""
    attempts: int
    """Total size of the archived attempts of all jobs."""
    jobs: dict[str, int]
    """Size of each job's directory, by job id."""


def get_disk_usage(connection: QueueConnection) -> DiskUsage:
    """Return the disk usage of the queue; see `RemoteQueue.disk_usage`."""

    def in_bytes(record: Mapping[str, str], key: str) -> int:
        return (parse_integer(record.get(key)) or 0) * 1024

    answer = connection.request("sizes")
    return DiskUsage(
        total=in_bytes(answer.head, "total"),
        store=in_bytes(answer.head, "store"),
        attempts=in_bytes(answer.head, "attempts"),
        jobs={record["id"]: in_bytes(record, "size") for record in answer.jobs},
    )


def kill(connection: QueueConnection, job_id: str, grace: int) -> JobStatus:
    """Kill one job; see `RemoteQueue.kill`."""
    outcome = kill_many(connection, [job_id], grace)[job_id]
    if outcome is None:
        raise connection.job_not_found(job_id)
    if error := why_alive(outcome.status):
        raise error
    return outcome.status


def kill_many(
    connection: QueueConnection,
    job_ids: Iterable[str],
    grace: int,
    *,
    with_dependents: bool = False,
) -> dict[str, Killed | None]:
    """Kill several jobs; see `RemoteQueue.kill_many`."""
    ids = check_job_ids(job_ids)
    if not ids:
        return {}
    if with_dependents:
        from tej.job.tree import find_dependents

        jobs = get_jobs(connection)
        ended = {job.job_id for job in jobs if job.state.final} - {*ids}
        # Dependents are killed first. If a needed job ended first, the server would end
        # its dependents because of the failed dependency, and not because of the kill.
        ids = [one for one in find_dependents(jobs, ids) if one not in ended]
    answer = connection.request("kill", str(int(grace)), submitter(), *ids)
    found = {
        record["id"]: Killed(
            parse_state(record["was"]),
            parse_status(record, answer.head),
            parse_integer(record["strays"]) or 0,
        )
        if "state" in record
        else None
        for record in answer.jobs
    }
    return only_requested(found, ids)


def why_alive(status: JobStatus) -> JobStillRunning | None:
    """Return the error for a job that still runs after a kill, or None if it ended."""
    if not status.state.final:
        place = f" on {status.host}" if status.host else ""
        now = "is still queued" if status.state is JobState.QUEUED else "still runs"
        why = f": {status.note}" if status.note else ""
        return JobStillRunning(
            f"Job '{status.job_id}'{place} {now} after the kill{why}; check again with "
            "`tej status`"
        )
    if status.processes_left:
        return JobStillRunning(
            f"Job '{status.job_id}' has ended, but {status.processes_left} of its "
            f"processes still run: {status.note or 'SIGKILL did not end them'}"
        )
    return None


def delete(connection: QueueConnection, job_id: str) -> None:
    """Delete one job; raise JobNotFound or JobStillRunning if it is not deleted."""
    if error := delete_many(connection, [job_id])[job_id]:
        raise error


def delete_many(
    connection: QueueConnection, jobs: Iterable[str | JobStatus]
) -> dict[str, JobNotFound | JobStillRunning | None]:
    """Delete several jobs; see `RemoteQueue.delete_many`."""
    submitted: dict[str, str] = {}
    for job in jobs:
        if isinstance(job, str):
            submitted[check_job_reference(job)] = "-"
        elif job.submitted is None:
            submitted[job.job_id] = "-"
        else:
            submitted[job.job_id] = str(int(job.submitted.timestamp()))
    return _delete(connection, submitted)


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
    connection: QueueConnection, submitted: Mapping[str, str]
) -> dict[str, JobNotFound | JobStillRunning | None]:
    """Delete the jobs in `submitted`, which maps a job id to a time of submission.

    The time of submission is in seconds since 1970.  The server deletes a job only if
    it was submitted at that time, or if the time of submission is "-".
    """
    pairs = [*submitted.items()]
    found: dict[str, JobNotFound | JobStillRunning | None] = {}
    for start in range(0, len(pairs), _DELETED_TOGETHER):
        found |= _delete_together(
            connection, dict(pairs[start : start + _DELETED_TOGETHER])
        )
    return found


_DELETED_TOGETHER = 2000
"""Maximum number of jobs in one request; a shell with more arguments forks slowly."""


def _delete_together(
    connection: QueueConnection, submitted: Mapping[str, str]
) -> dict[str, JobNotFound | JobStillRunning | None]:
    """Delete the jobs in `submitted` by one request; see `_delete`."""
    words = [word for pair in submitted.items() for word in pair]

    def attempt(failures: int) -> dict[str, JobNotFound | JobStillRunning | None]:
        answer = connection.request_once("delete", *words)
        for record in answer.jobs:
            if "elsewhere" in record:
                logger.warning("Job '%s' is deleted; %s", record["id"], record["note"])
            if "warning" in record:
                logger.warning("%s", record["warning"])
        # If the request was repeated, a job that does not exist was deleted by an
        # earlier request whose reply was lost.
        found = {
            record["id"]: None
            if "deleted" in record or (failures and "state" not in record)
            else _not_deleted(connection, record, answer)
            for record in answer.jobs
        }
        return only_requested(found, submitted)

    return connection.with_retries(attempt)


def _not_deleted(
    connection: QueueConnection, record: Mapping[str, str], answer: ParsedReply
) -> JobNotFound | JobStillRunning:
    if "state" not in record:
        return connection.job_not_found(record["id"])
    status = parse_status(record, answer.head)
    # Older scripts give no reason for a job that has not ended.
    why = status.note or f"it is {status.state}"
    return JobStillRunning(f"Job '{status.job_id}' is not deleted; {why}")


def _parse(answer: ParsedReply) -> Iterator[JobStatus]:
    """Return the status of each job in the server's reply.

    Raises RemoteCommandFailure if the reply does not name the queue.
    """
    _require_queue(answer.head)
    return _parse_records(answer.jobs, answer.head)


def _parse_records(records: Iterable[Record], head: Record) -> Iterator[JobStatus]:
    """Yield the status of each job.

    A record without a state is skipped, because the job was deleted in the meantime.
    """
    for record in records:
        if "state" in record:
            yield parse_status(record, head)


def _require_queue(head: Record) -> None:
    """Raise RemoteCommandFailure if the reply does not name the queue.

    A forced command of the SSH server may change the exit status of a failed request to
    0.  Without this check, the reply would mean that no job exists.
    """
    _ = head["queue"]
