"""What was fetched of a job: where it is on this machine, and whether it is all."""

from __future__ import annotations

import glob
import json
import os
import posixpath
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

import luigi

from tej.job.status import JobStatus

NOTE = ".tej-results.json"
"""Written when all was fetched: of which run of the job, what was asked for, and which
files came of it."""


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
        if not glob.has_magic(pattern):
            return luigi.LocalTarget(str(self.folder / pattern))
        noted = [PurePosixPath(one) for one in self._read_note()["fetched"]]
        # A directory that was fetched is named by the files in it.
        named = {above for one in noted for above in (one, *one.parents)}
        found = sorted(one for one in named if _is_named(one, pattern))
        return [luigi.LocalTarget(str(self.folder / one)) for one in found]

    def fetched(self, status: JobStatus) -> bool:
        """Whether all that is asked for is here, and is of that very run."""
        if not self.patterns:
            return True
        note = self._read_note()
        if note["run"] != _run(status) or not set(self.patterns) <= set(note["asked"]):
            return False
        plain = [one for one in self.patterns if not glob.has_magic(one)]
        came = [one for one in note["fetched"] if self._asks_for(one)]
        return all(os.path.lexists(self.folder / one) for one in plain + came)

    def note(self, status: JobStatus, files: Iterable[Path]) -> None:
        """All was fetched: these files.  Others that were fetched before, of another
        run of the job or by the same patterns, are removed."""
        known = self._read_note()
        asked = set(self.patterns)
        fetched = {file.relative_to(self.folder).as_posix() for file in files}
        if known["run"] == _run(status):
            asked |= set(known["asked"])
            fetched |= {one for one in known["fetched"] if not self._asks_for(one)}
        self._remove(set(known["fetched"]) - fetched)
        self._write_note(
            {"run": _run(status), "asked": sorted(asked), "fetched": sorted(fetched)}
        )

    def _asks_for(self, name: str) -> bool:
        path = PurePosixPath(name)
        return any(
            _is_named(one, pattern)
            for pattern in self.patterns
            for one in (path, *path.parents)
        )

    def _remove(self, names: Iterable[str]) -> None:
        top = self.folder.resolve()
        for name in names:
            path = self.folder / name
            if path.parent.resolve() != top / PurePosixPath(name).parent:
                # Behind a link is what has another name.
                continue
            with suppress(OSError):
                path.unlink(missing_ok=True)
                for above in PurePosixPath(name).parents[:-1]:
                    (self.folder / above).rmdir()

    def _write_note(self, note: dict[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", dir=self.folder, prefix=NOTE, delete=False
        ) as file:
            file.write(f"{json.dumps(note, indent=2)}\n")
        os.replace(file.name, self.folder / NOTE)  # noqa: PTH105

    def _read_note(self) -> dict[str, Any]:
        nothing: dict[str, Any] = {"run": None, "asked": [], "fetched": []}
        try:
            found = json.loads((self.folder / NOTE).read_text("utf-8"))
        except (OSError, ValueError):
            return nothing
        # Else it is not ours: jobs may have written, and we fetched, anything.
        is_ours = isinstance(found, dict) and found.keys() == nothing.keys()
        return found if is_ours and all(map(_is_below, found["fetched"])) else nothing


def _is_below(name: object) -> bool:
    """Whether it is a path that stays in the directory it starts from."""
    if not isinstance(name, str):
        return False
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def _is_named(path: PurePosixPath, pattern: str) -> bool:
    """Whether a pattern stands for this very path, as shells have it: what has a dot in
    front has to be asked for with it.  A file may be called like a pattern."""
    wanted = PurePosixPath(posixpath.normpath(pattern))
    return path == wanted or (
        len(path.parts) == len(wanted.parts)
        and all(
            fnmatchcase(name, part) and (name[0] != "." or part[0] == ".")
            for name, part in zip(path.parts, wanted.parts, strict=True)
        )
    )


def _run(status: JobStatus) -> dict[str, Any]:
    """What tells one run of a job from another under the same id.

    Times are in whole seconds, in which a short job is deleted and run again; the
    runtime's own name for it is another then."""
    about = status.as_dict()
    times = ("submitted", "started", "ended")
    return {key: about[key] for key in ("id", "attempt", *times, "host", "native_id")}
