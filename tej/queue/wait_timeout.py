"""Timeout of a wait: check of the value, last status request, error WaitTimeout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from tej.errors import WaitTimeout
from tej.job.status import JobStatus
from tej.queue.connection import QueueConnection


def check_timeout(timeout: float | None) -> None:
    """Raise ValueError if a timeout is negative or is not a number."""
    if timeout is not None and not timeout >= 0:
        raise ValueError(f"A timeout must be 0 or more seconds, not {timeout}")


def ended_among(
    connection: QueueConnection, statuses: Mapping[str, JobStatus | None]
) -> Iterator[tuple[str, JobStatus]]:
    """Yield the jobs that have ended; raise JobNotFound if a job does not exist.

    After a timeout, the caller requests the statuses of the remaining jobs once more,
    because a short timeout may expire before the server's first reply.
    """
    for job_id, status in statuses.items():
        if status is None:
            raise connection.job_not_found(job_id)
        if status.state.final:
            yield job_id, status


def wait_timeout(timeout: float, pending: Iterable[str], total: int) -> WaitTimeout:
    """Return the WaitTimeout for jobs that have not ended within the timeout."""
    ids = list(pending)
    shown = ", ".join(ids[:3]) + (", ..." if len(ids) > 3 else "")
    if total == 1:
        return WaitTimeout(
            f"After {timeout:g} seconds, job '{shown}' has not ended; "
            "the job continues to run"
        )
    return WaitTimeout(
        f"After {timeout:g} seconds, {len(ids)} of {total} jobs have not ended "
        f"({shown}); they continue to run"
    )
