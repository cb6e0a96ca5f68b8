"""History of a pipeline: all its jobs in a queue, also those with earlier parameters.

The history is read from the queue.  It is the same for all clients, and contains the
jobs that have not been deleted.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tej

_FILE = "module.json"


@dataclass(frozen=True)
class PastJob:
    """A job that was started for a pipeline."""

    module: str
    status: tej.JobStatus
    values: dict[str, Any]
    """Values of the ports; files are given by their paths on the server."""
    upstream: tuple[str, ...]
    """Ids of the jobs whose files this job uses."""


def read_history(queue: tej.RemoteQueue, pipeline: str) -> list[PastJob]:
    """Return the jobs of a pipeline in the order of their submission.

    Two requests are enough for all jobs.
    """
    try:
        jobs = queue.jobs(labels={"pipeline": pipeline}, sort="submitted")
    except tej.QueueDoesntExist:
        return []
    if not jobs:
        return []
    with tempfile.TemporaryDirectory() as temporary:
        queue.download_many((one.job_id for one in jobs), _FILE, directory=temporary)
        return [
            PastJob(
                status.labels.get("module", ""),
                status,
                dict(_read_values(Path(temporary) / status.job_id / _FILE)),
                status.after,
            )
            for status in jobs
        ]


def _read_values(path: Path) -> Iterator[tuple[str, Any]]:
    # A job whose files were deleted by the user is listed without values.
    try:
        document = json.loads(path.read_text("utf-8"))
        yield from document["inputs"].items()
    except (OSError, ValueError, KeyError, AttributeError):
        return
