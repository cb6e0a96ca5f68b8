"""Kill request: kill jobs, and report the jobs that were not killed.

The server's `commands/kill` sends the signals.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tej.errors import JobNotFound, JobStillRunning
from tej.job.status import JobState, JobStatus
from tej.queue.connection import QueueConnection, check_job_ids, submitter
from tej.queue.status_requests import get_jobs
from tej.wire.records import parse_integer, parse_state, parse_status
from tej.wire.replies import is_missing, only_requested


@dataclass(frozen=True)
class Killed:
    """The outcome of `kill_many` for one job."""

    was: JobState
    """State of the job before the kill; if it is final, the job was not killed."""
    status: JobStatus
    """Status of the job after the kill."""
    strays: int = 0
    """If the job had already ended: number of processes that it had left running, and
    that were killed now."""


def kill(connection: QueueConnection, job: str | JobStatus, grace: int) -> JobStatus:
    """Kill one job; see `RemoteQueue.kill` and `kill_many`."""
    job_id = job if isinstance(job, str) else job.job_id
    outcome = kill_many(connection, [job], grace)[job_id]
    if outcome is None:
        raise why_missing(connection, job)
    if error := why_alive(outcome.status):
        raise error
    return outcome.status


def kill_many(
    connection: QueueConnection,
    jobs: Iterable[str | JobStatus],
    grace: int,
    *,
    with_dependents: bool = False,
) -> dict[str, Killed | None]:
    """Kill several jobs; see `RemoteQueue.kill_many`."""
    tokens: dict[str, str] = {}
    for job in [jobs] if isinstance(jobs, str) else jobs:
        if isinstance(job, str):
            tokens[job] = ""
        else:
            tokens[job.job_id] = job.token
    ids = check_job_ids(tokens)
    if not ids:
        return {}
    if with_dependents:
        from tej.job.tree import find_dependents

        listed = get_jobs(connection)
        ended = {job.job_id for job in listed if job.state.final} - {*ids}
        latest = {job.job_id: job.token for job in listed}
        # Spare the new attempt of a job that has been retried, and its dependents.
        roots = [
            one for one in ids if tokens[one] in ("", latest.get(one, tokens[one]))
        ]
        tokens = latest | tokens
        # Kill the dependents before the jobs that they need. Otherwise, the server
        # would end the dependents because of a failed dependency, not because of the
        # kill.
        tree = dict.fromkeys([*find_dependents(listed, roots), *ids])
        ids = [one for one in tree if one not in ended]
    words = []
    for job_id in ids:
        words.append(job_id)
        if token := tokens.get(job_id):
            words.append(f"/{token}")
    answer = connection.request("kill", str(int(grace)), submitter(), *words)
    found = {
        record["id"]: None
        if is_missing(record)
        else Killed(
            parse_state(record["was"]),
            parse_status(record, answer.head),
            parse_integer(record["strays"]) or 0,
        )
        for record in answer.jobs
    }
    return only_requested(found, ids)


def why_missing(connection: QueueConnection, job: str | JobStatus) -> JobNotFound:
    """Return the error if the kill has not found the job.

    If `job` is a status with a token, another job may have this id now.
    """
    if isinstance(job, str) or not job.token:
        return connection.job_not_found(job if isinstance(job, str) else job.job_id)
    return JobNotFound(
        f"Job '{job.job_id}' was deleted, or submitted again, since its status was "
        "read: nothing was killed"
    )


def why_alive(status: JobStatus) -> JobStillRunning | None:
    """Return the error if the job, or one of its processes, still runs after a kill;
    otherwise None."""
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
