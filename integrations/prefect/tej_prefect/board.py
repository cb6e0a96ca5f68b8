"""What Prefect's pages show of jobs: a table, and for many of them a bar.

The table also tells other flow runs which jobs this one wants.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate

import tej
from tej_prefect.context import Run
from tej_prefect.custody import run_logger
from tej_prefect.owners import KEY

if TYPE_CHECKING:
    from tej_prefect.job_run import TejJobRun

WAITING = (tej.JobState.CREATED, tej.JobState.QUEUED)
PROGRESS_KEY = "tej-progress"
PERIOD = 5.0
"""Seconds between two changes of the bar; of the table, of ten times as many."""


class Board:
    """The artifacts of one task run.  Without a flow run there are none."""

    def __init__(
        self,
        run: Run,
        *,
        key: str = KEY,
        about: str | None = None,
    ) -> None:
        """`about` is what the table is said to be."""
        self._key, self._about = key, about
        self._run = run
        self._known: dict[TejJobRun, tej.JobStatus | None] = {}
        self._gone: set[TejJobRun] = set()
        self._table: UUID | None = None
        self._bar: UUID | None = None
        self._data = ""
        self._ended = 0
        self._shown = -1
        self._due = self._table_due = 0.0

    def add(self, jobs: Mapping[TejJobRun, tej.JobStatus | None]) -> None:
        """Show these, too, with what is known of them: from here on others know that
        they are wanted."""
        self._known |= jobs
        if self._run.flow_run_id is None or not self._known:
            return
        self._table_due = time.monotonic() + 10 * PERIOD
        if self._table is None:
            rows = self._rows()
            self._table = self._create("table", self._key, rows, self._title())
        else:
            self._show(self._table)

    def begin(self) -> None:
        """All were added: show how many of them have ended."""
        if self._run.flow_run_id is not None and len(self._known) > 1:
            self._bar = self._create("progress", PROGRESS_KEY, 0.0, self._words())

    def ended(self, job: TejJobRun, end: tej.JobStatus | tej.Error) -> None:
        """Take down how one has ended, or that it is gone."""
        if isinstance(end, tej.Error):
            self._gone.add(job)
        else:
            self._known[job] = end
        self._ended += 1

    def update(self, *, last: bool = False) -> None:
        """Show what has changed, if that was not done just now."""
        now = time.monotonic()
        if now < self._due and not last:
            return
        self._due = now + PERIOD
        if self._bar is not None and self._ended != self._shown:
            share = 100.0 * self._ended / len(self._known)
            self._change(self._bar, ArtifactUpdate(data=share))
        self._shown = self._ended
        if self._table is not None and (last or now >= self._table_due):
            self._table_due = now + 10 * PERIOD
            if not last:
                self._look()
            self._show(self._table)

    def _look(self) -> None:
        """Which have begun to run: one round trip for each place that has others."""
        groups: dict[tej.RemoteQueue, dict[str, TejJobRun]] = {}
        for job, status in self._known.items():
            if job not in self._gone and (status is None or status.state in WAITING):
                queue = job.destination.get_client()
                groups.setdefault(queue, {})[job.job_id] = job
        for queue, jobs in groups.items():
            try:
                statuses = queue.statuses(jobs)
            except tej.Error as error:
                # The wait tells what has become of them.
                run_logger().debug("States of jobs: %s", error)
                continue
            self._known |= {jobs[one]: status for one, status in statuses.items()}

    def _show(self, table: UUID) -> None:
        data = json.dumps(self._rows())
        if data != self._data:
            self._change(table, ArtifactUpdate(data=data, description=self._title()))
        self._data = data

    def _title(self) -> str:
        count = len(self._known)
        return self._about or (f"{count} tej jobs" if count > 1 else "tej job")

    def _rows(self) -> list[dict[str, object]]:
        return [self._row(job, status) for job, status in self._known.items()]

    def _row(self, job: TejJobRun, status: tej.JobStatus | None) -> dict[str, object]:
        state = "awaited" if status is None else status.state.value
        return {
            "job": job.job_id,
            "name": job.name,
            "state": "deleted" if job in self._gone else state,
            "exit code": None if status is None else status.exit_code,
            "seconds": None if status is None else status.duration,
            "host": None if status is None else status.host,
            "place": job.destination.place,
            "block": job.destination._block_document_name,
            "on cancel": job.on_cancel,
        }

    def _words(self) -> str:
        counts = Counter(job.destination.place for job in self._known)
        return "; ".join(
            f"{number} jobs at {place}" for place, number in counts.items()
        )

    def _create(self, kind: str, key: str, data: object, words: str) -> UUID | None:
        try:
            with get_client(sync_client=True) as client:
                made = client.create_artifact(
                    ArtifactCreate(
                        type=kind,
                        key=key,
                        description=words,
                        data=json.dumps(data) if kind == "table" else data,
                        flow_run_id=self._run.flow_run_id,
                        task_run_id=self._run.task_run_id,
                    )
                )
        except Exception as error:
            # The jobs matter more than their picture.
            run_logger().warning("Prefect's server takes no artifact: %s", error)
            return None
        return made.id

    def _change(self, artifact_id: UUID, change: ArtifactUpdate) -> None:
        try:
            with get_client(sync_client=True) as client:
                client.update_artifact(artifact_id, change)
        except Exception as error:
            run_logger().info("An artifact was not changed: %s", error)
