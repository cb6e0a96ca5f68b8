"""What is known of the jobs in a queue, and how they are ended and removed."""

from __future__ import annotations

import logging
from builtins import list as list_
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tej.errors import JobNotFound, JobStillRunning
from tej.job.status import JobState, JobStatus, check_job_id
from tej.queue.base import (
    DEFAULT_GRACE,
    QueueBase,
    check_job_ids,
    no_job,
    submitter,
)
from tej.queue.filters import ORDERS, disposable, select
from tej.wire.protocol import Answer, parse_status

logger = logging.getLogger("tej")


@dataclass(frozen=True)
class Killed:
    """What became of one job that was to be killed."""

    was: JobState
    """Its state before: if that is final, there was nothing to kill."""
    status: JobStatus
    strays: int = 0
    """How many processes were still there of a job that was over: they got the same."""


class Managing(QueueBase):
    """The verbs status, list, kill and delete."""

    def status(self, job_id: str) -> JobStatus:
        """What the server knows of a job; raises JobNotFound if that is nothing.

        It unpacks as in tej 0.6: `status, directory, result = queue.status(job_id)`.
        """
        status = self.statuses([job_id])[job_id]
        if status is None:
            raise no_job(job_id)
        return status

    def attempts(self, job_id: str) -> list_[JobStatus]:
        """The attempts of a job that were put aside by retries, the oldest first.

        Each has an id like `ID#1`, by which it can be read, downloaded and deleted; a
        number that was deleted is not used again.
        """
        answer = self._ask("status", f"{check_job_id(job_id)}#")
        found = [
            parse_status(record, answer.head)
            for record in answer.jobs
            if "state" in record
        ]
        return sorted(found, key=lambda status: int(status.job_id.rpartition("#")[2]))

    def jobs(
        self,
        *,
        states: Collection[str] = (),
        labels: Mapping[str, str] | None = None,
        since: datetime | None = None,
        sort: str = "id",
    ) -> list_[JobStatus]:
        """The jobs in the queue: in one of `states`, with all of `labels`, submitted
        `since` then; `sort` is "id", "submitted", "started", "ended", "duration" or
        "state".  One that is damaged is among them, as lost, and says so.
        """
        answer = self._ask("status")
        # One without a state was deleted while the list was made.
        jobs = [
            parse_status(record, answer.head)
            for record in answer.jobs
            if "state" in record
        ]
        found = select(jobs, states=states, labels=labels, since=since)
        return sorted(found, key=ORDERS[sort])

    def sizes(self) -> dict[str, int]:
        """The room that each job takes on the server, in bytes, as `du` counts."""
        return {
            record["id"]: int(record["size"]) * 1024
            for record in self._ask("sizes").jobs
        }

    def prune(
        self,
        *,
        older_than: timedelta | None = None,
        keep_last: int = 0,
        states: Collection[str] = (),
        labels: Mapping[str, str] | None = None,
        dry_run: bool = False,
    ) -> list_[JobStatus]:
        """Delete jobs that ended longer ago than `older_than`, but for the `keep_last`
        that ended last; never one that still runs.  Returns those deleted, or with
        `dry_run` those that would be.
        """
        chosen = disposable(
            self.jobs(),
            older_than=older_than,
            keep_last=keep_last,
            states=states,
            labels=labels,
        )
        if dry_run:
            return chosen
        # One that took its place since then is not meant.
        gone = self._delete(
            {
                job.job_id: "-"
                if job.submitted is None
                else str(int(job.submitted.timestamp()))
                for job in chosen
            }
        )
        return [job for job in chosen if gone[job.job_id] is None]

    def list(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """All jobs as in tej 0.6: pairs of an id and a dictionary, in which "status"
        is the state; the other keys are those of `JobStatus.as_dict`."""
        for status in self.jobs():
            yield status.job_id, {"status": status.state.value, **status.as_dict()}

    def kill(self, job_id: str, *, grace: int = DEFAULT_GRACE) -> JobStatus:
        """End a job and all of its processes; one that has already ended is left alone.

        They get SIGTERM, `grace` seconds, then SIGKILL.  Returns the status afterwards.
        Raises JobNotFound; JobStillRunning if it has not ended even so.
        """
        outcome = self.kill_many([job_id], grace=grace)[job_id]
        if outcome is None:
            raise no_job(job_id)
        check_killed(outcome.status)
        return outcome.status

    def kill_many(
        self, job_ids: Iterable[str], *, grace: int = DEFAULT_GRACE
    ) -> dict[str, Killed | None]:
        """The same for many jobs, in one round trip; None for those not found."""
        ids = check_job_ids(job_ids)
        if not ids:
            return {}
        answer = self._ask("kill", str(int(grace)), submitter(), *ids)
        return {
            record["id"]: Killed(
                JobState(record["was"]),
                parse_status(record, answer.head),
                int(record["strays"]),
            )
            if "state" in record
            else None
            for record in answer.jobs
        }

    def delete(self, job_id: str) -> None:
        """Remove a job that has ended, with its files.

        Raises JobNotFound, or JobStillRunning: kill it first.
        """
        error = self.delete_many([job_id])[job_id]
        if error is not None:
            raise error

    def delete_many(
        self, job_ids: Iterable[str]
    ) -> dict[str, JobNotFound | JobStillRunning | None]:
        """The same for many jobs, in one round trip: None for each that is gone, else
        the error that `delete` would raise."""
        return self._delete(dict.fromkeys(check_job_ids(job_ids), "-"))

    def _delete(
        self, submitted: Mapping[str, str]
    ) -> dict[str, JobNotFound | JobStillRunning | None]:
        """Those that were submitted then, in seconds since 1970; "-" for whenever."""
        if not submitted:
            return {}
        words = [word for pair in submitted.items() for word in pair]

        def attempt(tries: int) -> dict[str, JobNotFound | JobStillRunning | None]:
            answer = self._answer("delete", *words)
            for record in answer.jobs:
                if "elsewhere" in record:
                    logger.warning(
                        "Job '%s' is deleted; %s", record["id"], record["note"]
                    )
            # Not there on a second try: the first one has done it.
            return {
                record["id"]: None
                if "deleted" in record or (tries and "state" not in record)
                else _not_deleted(record, answer)
                for record in answer.jobs
            }

        return self._exchange.settle(attempt)


def check_killed(status: JobStatus) -> None:
    """Raise JobStillRunning if a job goes on although it was killed."""
    if not status.state.final:
        raise JobStillRunning(
            f"Job '{status.job_id}' was asked to end on {status.host}, and has not yet"
        )
    if status.processes_left:
        raise JobStillRunning(
            f"Job '{status.job_id}' has ended, but {status.processes_left} of its "
            f"processes are left: {status.note or 'they resist SIGKILL'}"
        )


def _not_deleted(
    record: Mapping[str, str], answer: Answer
) -> JobNotFound | JobStillRunning:
    if "state" not in record:
        return no_job(record["id"])
    status = parse_status(record, answer.head)
    why = status.note or f"it is {status.state}: kill it first"
    return JobStillRunning(f"Job '{status.job_id}' is not deleted; {why}")
