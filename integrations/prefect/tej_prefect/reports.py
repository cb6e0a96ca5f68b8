"""Reports about a run's jobs in Prefect: artifacts, events `tej.job.*`, and the log.

The artifacts are a table of the jobs and a progress bar.  The output of running jobs is
copied to the log of the flow run.
"""

from __future__ import annotations

import json
import threading
import time
import weakref
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING
from uuid import NAMESPACE_URL, UUID, uuid5

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.events import RelatedResource, emit_event

import tej
from tej_prefect.context import Run, run_logger, stored_name
from tej_prefect.job_result import PENDING, JobRecord, by_queue

if TYPE_CHECKING:
    from tej_prefect.context import AnyLogger

JOBS_KEY = "tej-jobs"
AWAITED_KEY = "tej-awaited"
"""Key of the table of jobs that a suspended flow run waits for."""
PROGRESS_KEY = "tej-progress"
PERIOD = 30.0
"""Seconds between two updates of the table and the progress bar."""
STREAMS = {"_stdout": "stdout", "_stderr": "stderr"}
OUTPUT_LIMIT = 256 * 1024
"""Maximum number of bytes of one job's output in the log.

The output is limited because each log record is a row in Prefect's database.
"""
OUTPUT_PERIOD = 2.0
"""Seconds between two reads of one job's output."""
READERS = 2
"""Maximum number of SSH channels per queue that read output at the same time."""

Row = dict[str, object]


class JobArtifacts:
    """Creates and updates the artifacts of one run.

    Outside of a flow run, no artifact is created.
    """

    def __init__(
        self, run: Run, *, key: str = JOBS_KEY, description: str | None = None
    ) -> None:
        self._run = run
        self._key, self._description = key, description
        self._known: dict[JobRecord, tej.JobStatus | None] = {}
        self._deleted: set[JobRecord] = set()
        self._table: UUID | None = None
        self._bar: UUID | None = None
        self._data = ""
        self._ended = 0
        self._due = 0.0

    def add(
        self,
        jobs: Mapping[JobRecord, tej.JobStatus | None],
        *,
        submitted: bool = False,
    ) -> None:
        """Add jobs, with their last known statuses, to the table.

        If `submitted` is true, emit an event for each new job, but not for jobs that
        were found.
        """
        self._known |= jobs
        if self._run.flow_run_id is None or not self._known:
            return
        for job in jobs:
            if submitted and not job.found:
                emit_start(job)
        self._due = time.monotonic() + PERIOD
        if self._table is None:
            rows = json.dumps(self._rows())
            self._table = self._create("table", self._key, rows, self._title())
        else:
            self._update_table(self._table)

    def add_progress(self) -> None:
        """Create the progress bar if there are several jobs."""
        if self._run.flow_run_id is not None and len(self._known) > 1:
            counts = Counter(job.destination.place for job in self._known)
            places = [f"{number} jobs at {place}" for place, number in counts.items()]
            self._bar = self._create("progress", PROGRESS_KEY, 0.0, "; ".join(places))

    def set_end(self, job: JobRecord, end: tej.JobStatus | None) -> None:
        """Record a job's final status, which is None if the job was deleted.

        Emits an event, unless the job was deleted or had ended before the run found it.
        """
        before = self._known.get(job)
        if end is None:
            self._deleted.add(job)
        else:
            self._known[job] = end
            is_old = job.found and before is not None and before.state.final
            if self._run.flow_run_id is not None and not is_old:
                emit_end(job, end, self._run.flow_run_id)
        self._ended += 1

    def update(self, *, last: bool = False) -> None:
        """Send changed artifacts to Prefect's API, at most once in `PERIOD` seconds.

        If `last` is true, the changes are sent at once.
        """
        now = time.monotonic()
        if now < self._due and not last:
            return
        self._due = now + PERIOD
        if self._bar is not None:
            share = 100.0 * self._ended / len(self._known)
            self._change(self._bar, ArtifactUpdate(data=share))
        if self._table is not None:
            if not last:
                self._poll_pending()
            self._update_table(self._table)

    def _poll_pending(self) -> None:
        """Read the states of pending jobs, with one request to each queue."""
        pending = (
            job
            for job, status in self._known.items()
            if job not in self._deleted and (status is None or status.state in PENDING)
        )
        for queue, jobs in by_queue(pending).items():
            try:
                statuses = queue.statuses(jobs)
            except tej.Error as error:
                # This error is only logged, because the request that waits for the jobs
                # reports the same error.
                run_logger().debug("The states of jobs could not be read: %s", error)
                continue
            self._known |= {jobs[one]: status for one, status in statuses.items()}

    def _update_table(self, table: UUID) -> None:
        data = json.dumps(self._rows())
        if data != self._data:
            self._change(table, ArtifactUpdate(data=data, description=self._title()))
        self._data = data

    def _title(self) -> str:
        count = len(self._known)
        return self._description or (f"{count} tej jobs" if count > 1 else "tej job")

    def _rows(self) -> list[Row]:
        # The table must contain all jobs: `kill_jobs_on_cancellation` (`suspend.py`)
        # kills the jobs that it reads from the table.
        return [self._row(job, status) for job, status in self._known.items()]

    def _row(self, job: JobRecord, status: tej.JobStatus | None) -> Row:
        state = "unknown" if status is None else status.state.value
        return {
            "job": job.job_id,
            "name": job.name,
            "state": "deleted" if job in self._deleted else state,
            "exit code": None if status is None else status.exit_code,
            "seconds": None if status is None else status.duration,
            "host": None if status is None else status.host,
            "place": job.destination.place,
            "block": stored_name(job.destination),
            "on cancel": job.on_cancel,
        }

    def _create(self, kind: str, key: str, data: object, title: str) -> UUID | None:
        artifact = ArtifactCreate(
            type=kind,
            key=key,
            description=title,
            data=data,
            flow_run_id=self._run.flow_run_id,
            task_run_id=self._run.task_run_id,
        )
        try:
            with get_client(sync_client=True) as client:
                return client.create_artifact(artifact).id
        except Exception as error:
            # The jobs do not need the artifact, so the error is only logged.
            run_logger().warning("The artifact %r could not be created: %s", key, error)
            return None

    def _change(self, artifact_id: UUID, change: ArtifactUpdate) -> None:
        try:
            with get_client(sync_client=True) as client:
                client.update_artifact(artifact_id, change)
        except Exception as error:
            run_logger().info("An artifact could not be updated: %s", error)


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


class Outputs:
    """Copies the output of several jobs to one log."""

    def __init__(self, logger: AnyLogger) -> None:
        self._logger = logger
        self._outputs: dict[JobRecord, JobOutput] = {}

    def add(self, records: Iterable[JobRecord], *, with_names: bool = False) -> None:
        """Add jobs whose output is copied to the log."""
        for record in records:
            prefix = f"{record.name}: " if with_names else ""
            output = JobOutput(record.job, self._logger, prefix)
            self._outputs[record] = output

    def read(self) -> None:
        """Log the new output of jobs until about a second has passed."""
        begun = time.monotonic()
        for record in [*self._outputs]:
            self._outputs[record].read()
            # Move the job to the end, so that the next call starts with the jobs whose
            # output this call did not read.
            self._outputs[record] = self._outputs.pop(record)
            if time.monotonic() - begun > 1:
                return

    def finish(self, record: JobRecord) -> None:
        """Log the rest of the output of a job that has ended."""
        output = self._outputs.pop(record, None)
        if output is not None:
            output.read(last=True)


_turns: weakref.WeakKeyDictionary[tej.RemoteQueue, threading.Semaphore]
_turns = weakref.WeakKeyDictionary()
_turns_lock = threading.Lock()


class _LimitReached(Exception):
    """Raised when the log contains `OUTPUT_LIMIT` bytes of the job's output."""


class JobOutput:
    """Copies one job's output to a log, up to `OUTPUT_LIMIT` bytes.

    A semaphore of the queue ensures that at most `READERS` channels read output at the
    same time, for any number of jobs and waiting threads.
    """

    def __init__(self, job: tej.Job, logger: AnyLogger, prefix: str = "") -> None:
        self._logs = job.queue.read_logs(job.id, STREAMS)
        with _turns_lock:
            self._turn = _turns.setdefault(job.queue, threading.Semaphore(READERS))
        self._logger = logger
        self._prefix = prefix
        self._incomplete = dict.fromkeys(STREAMS, b"")
        self._left = OUTPUT_LIMIT
        self._due = 0.0

    def read(self, *, last: bool = False) -> None:
        """Log the new output of the job if the queue's semaphore is free.

        If `last` is true, the method waits for the semaphore, and also logs a last line
        without a line end.
        """
        if not self._left or (time.monotonic() < self._due and not last):
            return
        if not self._turn.acquire(blocking=last):
            return
        new: dict[str, list[bytes]] = {name: [] for name in STREAMS}

        def take(piece: tej.Piece) -> None:
            data = piece.data[: self._left]
            new[piece.name].append(data)
            self._left -= len(data)
            if not self._left:
                raise _LimitReached

        try:
            self._logs.read(take)
        except _LimitReached:
            last = True
        except tej.Error as error:
            # This error is only logged, because the request that waits for the job
            # reports the same error.
            self._logger.debug("The job's output could not be read: %s", error)
        finally:
            self._turn.release()
        self._due = time.monotonic() + OUTPUT_PERIOD
        for name, pieces in new.items():
            self._log(name, b"".join(pieces), last=last)
        if not self._left:
            self._logger.warning(
                "%sThe log shows only the first %d KB of the output; the results "
                "contain the complete output",
                self._prefix,
                OUTPUT_LIMIT // 1024,
            )

    def _log(self, name: str, data: bytes, *, last: bool) -> None:
        lines, newline, rest = (self._incomplete[name] + data).rpartition(b"\n")
        if last:
            lines, newline, rest = lines + newline + rest, b"\n", b""
        self._incomplete[name] = rest
        text = lines.decode("utf-8", "replace").rstrip("\n")
        if newline and text:
            stream = "" if name == "_stdout" else f"{STREAMS[name]}: "
            self._logger.info("%s%s%s", self._prefix, stream, text)
