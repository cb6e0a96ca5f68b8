"""Job records, optionally stored in a file.

The records may be outdated, so modules request the state of a job from the server.  The
records list the jobs of a suspended pipeline.  The records also show whether the
failure of a job is new.  A new failure is reported before `retry` starts the job again.
"""

from __future__ import annotations

import json
import os
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from tej_vistrails.engine.errors import PipelineError
from tej_vistrails.engine.module import Module, ModuleSuspended


class Record:
    """Record of the job of one module."""

    def __init__(
        self,
        id: str,
        parameters: dict[str, Any],
        name: str = "",
        start: str | None = None,
        finished: bool = False,
    ) -> None:
        self.id = id
        self.parameters = parameters
        self.name = name
        self.start = start or datetime.now(timezone.utc).isoformat(timespec="seconds")
        self.finished = finished

    def mark(self) -> None:
        """Mark the job of this record as not finished."""
        self.finished = False


class JobMonitor:
    """Job records by module signature, stored in a file if `path` is given."""

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = None if path is None else Path(path)
        self.jobs: dict[str, Record] = {}
        if self.path is not None and self.path.exists():
            try:
                found = json.loads(self.path.read_text("utf-8"))["jobs"]
                self.jobs = {key: Record(**found[key]) for key in found}
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise PipelineError(
                    f"'{self.path}' cannot be read ({error}): move it away; the jobs "
                    "themselves are on their servers, and will be found"
                ) from error

    def getJob(self, id: str) -> Record | None:
        """Return the record for a module's signature, or None if there is no record."""
        return self.jobs.get(id)

    def addJob(
        self,
        id: str,
        params: dict[str, Any] | None = None,
        name: str = "",
        finished: bool = False,
    ) -> None:
        """Add or replace the record of a job, without changing its start time."""
        known = self.jobs.get(id)
        start = None if known is None else known.start
        self.jobs[id] = Record(id, params or {}, name, start, finished)
        self.save()

    def deleteJob(self, id: str) -> None:
        """Remove the record of a job."""
        self.jobs.pop(id, None)
        self.save()

    def checkJob(self, module: Module, id: str, handle: Any) -> None:
        """Raise ModuleSuspended unless the job has ended."""
        if not handle.finished():
            raise ModuleSuspended(module, "Job is running", handle=handle)

    def save(self) -> None:
        """Write the records to the file atomically, readable only by its owner."""
        if self.path is None:
            return
        text = json.dumps(
            {"jobs": {key: vars(self.jobs[key]) for key in sorted(self.jobs)}}, indent=2
        )
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=self.path.parent, prefix=".jobs", delete=False
        ) as file:
            file.write(text + "\n")
        Path(file.name).replace(self.path)
