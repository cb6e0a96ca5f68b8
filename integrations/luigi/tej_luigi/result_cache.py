"""Cache of job results on this machine.

The results of a job are cached in the directory JOB-ID in `results_directory`.  The
file `.tej-results.json` in the cache directory records which attempt of the job
produced the files.  Cached files are used only if the job's server reports that the
same attempt of the job has succeeded.
"""

from __future__ import annotations

import glob
import json
import os
import posixpath
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from tej import FilePattern, JobStatus, OptionalFile

NOTE = ".tej-results.json"


class ResultFiles:
    """Manages the copy of one job's results on this machine."""

    def __init__(self, folder: Path, patterns: Sequence[str]) -> None:
        self.folder = folder
        self.patterns = list(patterns)

    def names(self) -> list[str]:
        """Return the fetched files and directories that match the patterns."""
        fetched = self._read_note()["fetched"]
        return sorted({str(part) for name in fetched for part in self._parts(name)})

    def is_current(self, status: JobStatus) -> bool:
        """Return whether this machine has all results of the attempt in `status`."""
        if not self.patterns:
            return True
        note = self._read_note()
        if note["run"] != _run(status) or not set(self.patterns) <= set(note["asked"]):
            return False
        plain = [
            one
            for one in self.patterns
            if not glob.has_magic(one) and not isinstance(one, OptionalFile)
        ]
        optional = [one for one in note["fetched"] if self._includes(one)]
        return all(os.path.lexists(self.folder / one) for one in plain + optional)

    def record(
        self,
        status: JobStatus,
        files: Iterable[Path],
        hook: Callable[[], object] = lambda: None,
    ) -> None:
        """Record in `.tej-results.json` that `files` were fetched, and call `hook`.

        Files that were fetched before and are no longer results are removed.  If `hook`
        raises an exception or the process ends during `hook`, the results will be
        fetched again.
        """
        known = self._read_note()
        asked = set(self.patterns)
        fetched = {file.relative_to(self.folder).as_posix() for file in files}
        if known["run"] == _run(status):
            asked |= set(known["asked"])
            fetched |= {one for one in known["fetched"] if not self._includes(one)}
        self._remove(set(known["fetched"]) - fetched)
        note = {"asked": sorted(asked), "fetched": sorted(fetched)}
        self._write_note({"run": None, **note})
        hook()
        self._write_note({"run": _run(status), **note})

    def remove(self) -> None:
        """Delete the local directory of the results with all its files."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _includes(self, name: str) -> bool:
        return any(True for _ in self._parts(name))

    @cached_property
    def _matchers(self) -> list[FilePattern]:
        return [FilePattern(posixpath.normpath(one)) for one in self.patterns]

    def _parts(self, name: str) -> Iterator[PurePosixPath]:
        """Yield, for each matching pattern, the file `name` or a directory above it.

        A pattern may match a directory, but `.tej-results.json` lists only files.  The
        directory is therefore found as a parent of a listed file.
        """
        for matcher in self._matchers:
            part = matcher.matched_part(PurePosixPath(name))
            if part is not None:
                yield part

    def _remove(self, names: Iterable[str]) -> None:
        top = self.folder.resolve()
        for name in names:
            path = self.folder / name
            if path.parent.resolve() != top / PurePosixPath(name).parent:
                # A parent directory of the file is a link, so the file may be outside
                # of the cache, and is skipped.
                continue
            with suppress(OSError):
                path.unlink(missing_ok=True)
                for above in PurePosixPath(name).parents[:-1]:
                    (self.folder / above).rmdir()

    def _write_note(self, note: dict[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        # `tempfile` is not used, because it makes files that only their owner can read:
        # other users who can read the results could then not use the cache.
        part = self.folder / f"{NOTE}{secrets.token_hex(8)}"
        part.write_text(f"{json.dumps(note, indent=2)}\n", "utf-8")
        part.replace(self.folder / NOTE)

    def _read_note(self) -> dict[str, Any]:
        nothing: dict[str, Any] = {"run": None, "asked": [], "fetched": []}
        try:
            found = json.loads((self.folder / NOTE).read_text("utf-8"))
        except (OSError, ValueError):
            return nothing
        # A result of the job may have the same name, and may have replaced this file.
        # The keys show whether the file was written by this class.
        is_ours = isinstance(found, dict) and found.keys() == nothing.keys()
        return found if is_ours and all(map(_is_below, found["fetched"])) else nothing


def _is_below(name: object) -> bool:
    """Return whether the path is relative and does not contain `..`."""
    if not isinstance(name, str):
        return False
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def _run(status: JobStatus) -> dict[str, Any]:
    """Return values that identify one attempt of a job.

    The times alone are not enough: their resolution is one second, and a short job can
    be deleted and run again within a second.  The host and the native id distinguish
    two runs within the same second.
    """
    about = status.as_dict()
    times = ("submitted", "started", "ended")
    return {key: about[key] for key in ("id", "attempt", *times, "host", "native_id")}
