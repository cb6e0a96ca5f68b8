"""What Prefect's pages show of jobs: a table, and for many of them a bar.

The table also tells other flow runs which jobs this one wants.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable
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

PROGRESS_KEY = "tej-progress"
PERIOD = 5.0
"""Seconds between two changes of the bar; of the table, of ten times as many."""


class Board:
    """The artifacts of one task run.  Without a flow run there are none."""

    def __init__(
        self,
        run: Run,
        jobs: Iterable[TejJobRun],
        *,
        key: str = KEY,
        about: str | None = None,
    ) -> None:
        """`about` is what the table is said to be."""
        self._key, self._about = key, about
        self._run = run
        self._jobs = list(jobs)
        self._statuses: dict[TejJobRun, tej.JobStatus] = {}
        self._table: UUID | None = None
        self._bar: UUID | None = None
        self._shown = -1
        self._due = self._table_due = 0.0

    def begin(self) -> None:
        """Show them: from here on others know that these jobs are wanted."""
        if self._run.flow_run_id is None or not self._jobs:
            return
        count = len(self._jobs)
        words = self._about or (f"{count} tej jobs" if count > 1 else "tej job")
        self._table = self._create("table", self._key, self._rows(), words)
        if count > 1 and self._key == KEY:
            self._bar = self._create("progress", PROGRESS_KEY, 0.0, self._words())
        self._table_due = time.monotonic() + 10 * PERIOD

    def ended(self, job: TejJobRun, status: tej.JobStatus) -> None:
        """Take down how one has ended."""
        self._statuses[job] = status

    def update(self, *, last: bool = False) -> None:
        """Show what has changed, if that was not done just now."""
        now, ended = time.monotonic(), len(self._statuses)
        if ended == self._shown or (now < self._due and not last):
            return
        self._shown, self._due = ended, now + PERIOD
        if self._bar is not None:
            share = 100.0 * ended / len(self._jobs)
            self._change(self._bar, ArtifactUpdate(data=share))
        if self._table is not None and (last or now >= self._table_due):
            self._table_due = now + 10 * PERIOD
            self._change(self._table, ArtifactUpdate(data=json.dumps(self._rows())))

    def _rows(self) -> list[dict[str, object]]:
        return [self._row(job, self._statuses.get(job)) for job in self._jobs]

    def _row(self, job: TejJobRun, status: tej.JobStatus | None) -> dict[str, object]:
        return {
            "job": job.job_id,
            "name": job.name,
            "state": "awaited" if status is None else status.state.value,
            "exit code": None if status is None else status.exit_code,
            "seconds": None if status is None else status.duration,
            "host": None if status is None else status.host,
            "place": job.destination.place,
            "block": job.destination._block_document_name,
            "on cancel": job.on_cancel,
        }

    def _words(self) -> str:
        counts = Counter(job.destination.place for job in self._jobs)
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
