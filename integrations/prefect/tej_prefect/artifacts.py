"""Artifacts of a run in Prefect: a table of its jobs, and a progress bar."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate

import tej
from tej_prefect.context import Run, run_logger, stored_name
from tej_prefect.events import emit_end, emit_start
from tej_prefect.job_result import PENDING, JobRecord, by_queue

JOBS_KEY = "tej-jobs"
AWAITED_KEY = "tej-awaited"
"""Key of the table of jobs that a suspended flow run waits for."""
PROGRESS_KEY = "tej-progress"
PERIOD = 30.0
"""Seconds between two updates of the table and the progress bar."""

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
