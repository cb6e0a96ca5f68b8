"""Events `tej.job.*` in Prefect: a job was submitted, or has ended."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import NAMESPACE_URL, UUID, uuid5

from prefect.events import RelatedResource, emit_event

import tej
from tej_prefect.job_result import JobRecord


def emit_start(record: JobRecord, related: Sequence[RelatedResource] = ()) -> None:
    """Emit `tej.job.started` for a job that was submitted."""
    _emit("started", record, {}, related)


def emit_end(
    record: JobRecord,
    status: tej.JobStatus,
    flow_run_id: UUID | None,
    related: Sequence[RelatedResource] = (),
) -> None:
    """Emit the event of a job that has ended, with its exit code and the reason.

    If several processes report the same end for the same flow run, for example two
    workers that have taken over the flow run, Prefect's server records only one event.
    """
    failed = status.state is tej.JobState.FINISHED and not status.succeeded
    kind = "failed" if failed else status.state.value
    payload: dict[str, object] = {
        "exit_code": status.exit_code,
        "reason": status.describe(),
        "seconds": status.duration,
        "host": status.host,
    }
    words = (record.destination.place, record.job_id, status.attempt, status.submitted)
    # Each process computes the same event id, because Prefect's server ignores an event
    # whose id it has already received.
    event_id = uuid5(NAMESPACE_URL, " ".join(map(str, (*words, kind, flow_run_id))))
    _emit(kind, record, payload, related, event_id)


def _emit(
    kind: str,
    record: JobRecord,
    payload: dict[str, object],
    related: Sequence[RelatedResource],
    event_id: UUID | None = None,
) -> None:
    # This call does not block, because Prefect sends events in a thread.  Prefect adds
    # the current flow run and task run to `related`.
    emit_event(
        f"tej.job.{kind}",
        resource={
            "prefect.resource.id": f"tej.job.{record.job_id}",
            "prefect.resource.name": record.name,
            "tej.destination": record.destination.place,
        },
        related=[*related],
        payload={"job_id": record.job_id, **payload},
        id=event_id,
    )
