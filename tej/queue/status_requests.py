"""Requests for the status of given jobs, all jobs of a queue, or archived attempts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tej.job.job_id import check_job_id
from tej.job.status import JobStatus
from tej.queue.connection import QueueConnection, check_job_ids
from tej.wire.framing import RecordSplitter
from tej.wire.malformed_reply import malformed_reply
from tej.wire.records import parse_status
from tej.wire.replies import (
    REPLY_LIMIT,
    ParsedReply,
    Record,
    is_missing,
    only_requested,
    parse_reply,
    require_end,
)


def get_statuses(
    connection: QueueConnection, job_ids: Iterable[str]
) -> dict[str, JobStatus | None]:
    """Return the status of each job; see `RemoteQueue.statuses`."""
    ids = check_job_ids(job_ids)
    if not ids:
        return {}
    answer = connection.request("status", *ids)
    found: dict[str, JobStatus | None] = {record["id"]: None for record in answer.jobs}
    found |= {one.job_id: one for one in _parse(answer)}
    return only_requested(found, ids)


def get_status(connection: QueueConnection, job_id: str) -> JobStatus:
    """Return the status of one job; raise JobNotFound if the job does not exist."""
    status = get_statuses(connection, [job_id])[job_id]
    if status is None:
        raise connection.job_not_found(job_id)
    return status


def get_jobs(
    connection: QueueConnection, *, last: int | None = None
) -> list[JobStatus]:
    """Return the status of every job, or of the `last` most recently changed jobs."""
    if last is not None:
        head, jobs = _receive_statuses(connection, f"#{last}")
        # A reply without `recent` is from older server scripts, which do not support
        # the argument `#N`: request all jobs.
        if "recent" in head:
            return jobs
    return _receive_statuses(connection)[1]


def _receive_statuses(
    connection: QueueConnection, *words: str
) -> tuple[Record, list[JobStatus]]:
    """Return the head and the statuses of a reply to `status`.

    The records are parsed while the reply arrives, because the server takes seconds to
    list many jobs.
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
        self._last = self._head

    def take(self, data: bytes) -> None:
        """Process the next piece of the reply; b"" marks the end of the reply."""
        if self._ended:
            # `run_verb` has upgraded the server's scripts and sent the request again,
            # so a new reply begins.
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
        _ = self._head["queue"]
        require_end(self._head, self._last)
        return self._head, self._jobs

    def _parse(self, words: bytes) -> None:
        answer = parse_reply(words)
        self._head.update(answer.head)
        self._last = answer.jobs[-1] if answer.jobs else self._last
        self._jobs += _parse_records(answer.jobs, self._head)


def get_attempts(connection: QueueConnection, job_id: str) -> list[JobStatus]:
    """Return the archived attempts of a job; see `RemoteQueue.attempts`."""
    found = _parse(connection.request("status", f"{check_job_id(job_id)}#"))
    return sorted(found, key=lambda status: status.attempt)


def _parse(answer: ParsedReply) -> Iterator[JobStatus]:
    """Return the status of each job in the server's reply.

    Raises RemoteCommandFailure if the reply is incomplete.
    """
    _ = answer.head["queue"]
    return _parse_records(answer.jobs, answer.head)


def _parse_records(records: Iterable[Record], head: Record) -> Iterator[JobStatus]:
    """Yield the status of each job.

    A record without a state is skipped, because the job was deleted in the meantime.
    """
    for record in records:
        if not is_missing(record):
            yield parse_status(record, head)
