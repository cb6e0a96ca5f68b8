"""What was fetched of a job: where it is on this machine, and whether it is all."""

from __future__ import annotations

import glob
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import luigi

from tej.job import JobStatus

NOTE = ".tej-results.json"
"""Written when all was fetched: of which run of the job, and what."""


class Results:
    """The results of one job in a directory of this machine."""

    def __init__(self, parent: Path, job_id: str, patterns: Sequence[str]) -> None:
        self.parent = parent
        self.folder = parent / job_id
        self.job_id = job_id
        self.patterns = list(patterns)

    def targets(self) -> dict[str, luigi.LocalTarget | list[luigi.LocalTarget]]:
        """By the names asked for: the file; for one with wildcards, those there are."""
        return {one: self._target(one) for one in self.patterns}

    def _target(self, pattern: str) -> luigi.LocalTarget | list[luigi.LocalTarget]:
        if not _is_pattern(pattern):
            return luigi.LocalTarget(str(self.folder / pattern))
        found = sorted(self.folder.glob(pattern))
        return [luigi.LocalTarget(str(path)) for path in found]

    def fetched(self, status: JobStatus) -> bool:
        """Whether all that is asked for is here, and is of that very run."""
        if not self.patterns:
            return True
        note = self._read_note()
        return (
            note.get("run") == _run(status)
            and set(self.patterns) <= set(note.get("files", ()))
            and all(
                (self.folder / one).exists()
                for one in self.patterns
                if not _is_pattern(one)
            )
        )

    def note(self, status: JobStatus) -> None:
        """All was fetched."""
        if not self.patterns:
            return
        known = self._read_note()
        files = set(self.patterns)
        if known.get("run") == _run(status):
            files |= set(known.get("files", ()))
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"run": _run(status), "files": sorted(files)}, indent=2)
        with tempfile.NamedTemporaryFile(
            "w", dir=self.folder, prefix=NOTE, delete=False
        ) as file:
            file.write(f"{text}\n")
        os.replace(file.name, self.folder / NOTE)  # noqa: PTH105

    def _read_note(self) -> dict[str, Any]:
        try:
            found = json.loads((self.folder / NOTE).read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def _is_pattern(name: str) -> bool:
    return glob.has_magic(name)


def _run(status: JobStatus) -> dict[str, Any]:
    """What tells one run of a job from another under the same id."""
    about = status.as_dict()
    return {key: about[key] for key in ("id", "attempt", "submitted", "ended")}
