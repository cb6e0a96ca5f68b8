"""Targets that fetch the results of a job when opened, and a cache on this machine.

The cache of a job's results is the directory RESULTS/JOB-ID.  The file
`.tej-results.json` in the cache directory records which attempt of the job produced the
files.  Cached files are used only if the server reports that the same attempt of the
job has succeeded.
"""

from __future__ import annotations

import glob
import json
import os
import posixpath
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, overload

import luigi
from luigi.format import Format

from tej.job.status import JobStatus

NOTE = ".tej-results.json"


class Optional(str):
    """Marks a path or pattern in `results` as optional: `Optional("*.log")`.

    If the job does not produce an optional result, no error is raised.
    """

    __slots__ = ()


class HasResults(Protocol):
    """A task whose job has results."""

    def job_succeeded(self) -> bool: ...

    def fetch_results(self) -> Path: ...


class TejResultTarget(luigi.LocalTarget):
    """A result file of a job.

    `open()` and `path` fetch the job's results to this machine if necessary.  Both
    raise tej.Error if the job has not finished with exit code 0.
    """

    def __init__(
        self, task: HasResults, name: str, format: Format | None = None
    ) -> None:
        self.task = task
        self.name = name
        super().__init__(name, format)

    def __str__(self) -> str:
        # `path` is not used here: Luigi logs targets, and logging must not fetch files.
        return f"{self.name} of {self.task}"

    def __repr__(self) -> str:
        return f"<TejResultTarget {self}>"

    @property
    def path(self) -> str:
        """The path of the file on this machine; fetches the results if necessary."""
        return str(self.task.fetch_results() / self.name)

    @path.setter
    def path(self, value: str) -> None:
        # The constructor of luigi.LocalTarget sets `path`, but the value is ignored.
        pass

    def exists(self) -> bool:
        """Return whether the job has succeeded and the file is among its results."""
        if not self.task.job_succeeded():
            return False
        is_certain = not isinstance(self.name, Optional) and not glob.has_magic(
            self.name
        )
        return is_certain or os.path.lexists(self.path)

    def open(self, mode: str = "r") -> Any:
        """Open the file for reading, in the target's format."""
        if "r" not in mode:
            raise ValueError(f"{self} is read-only: mode must be 'r', not {mode!r}")
        return super().open(mode)


class ResultList(Sequence[TejResultTarget]):
    """List of the results that match a pattern; fetched when the list is first read.

    Before the job has succeeded, the list contains one target that does not exist, and
    whose name is the pattern.
    """

    def __init__(self, task: HasResults, pattern: str) -> None:
        self.task = task
        self.pattern = pattern

    def __repr__(self) -> str:
        return f"<ResultList {self.pattern} of {self.task}>"

    def _targets(self) -> list[TejResultTarget]:
        if not self.task.job_succeeded():
            return [TejResultTarget(self.task, self.pattern)]
        names = ResultFiles(self.task.fetch_results(), [self.pattern]).names()
        return [TejResultTarget(self.task, name) for name in names]

    def __len__(self) -> int:
        return len(self._targets())

    def __iter__(self) -> Iterator[TejResultTarget]:
        return iter(self._targets())

    @overload
    def __getitem__(self, index: int) -> TejResultTarget: ...
    @overload
    def __getitem__(self, index: slice) -> list[TejResultTarget]: ...
    def __getitem__(
        self, index: int | slice
    ) -> TejResultTarget | list[TejResultTarget]:
        return self._targets()[index]


def result_targets(
    task: HasResults, patterns: Iterable[str]
) -> dict[str, TejResultTarget | ResultList]:
    """Return a target for each file name, and a list of targets for each pattern.

    The function makes no request to the server.
    """
    return {
        one: (ResultList if glob.has_magic(one) else TejResultTarget)(task, one)
        for one in patterns
    }


class ResultFiles:
    """Manages the copy of one job's results on this machine."""

    def __init__(self, folder: Path, patterns: Sequence[str]) -> None:
        self.folder = folder
        self.patterns = list(patterns)

    def names(self) -> list[str]:
        """Return the fetched files and directories that match the patterns."""
        noted = [PurePosixPath(one) for one in self._read_note()["fetched"]]
        # The note contains only files: a fetched directory is a parent of its files.
        known = {above for one in noted for above in (one, *one.parents)}
        return sorted(
            str(one)
            for one in known
            if any(_matches(one, pattern) for pattern in self.patterns)
        )

    def is_current(self, status: JobStatus) -> bool:
        """Return whether all results of the attempt `status` exist on this machine."""
        if not self.patterns:
            return True
        note = self._read_note()
        if note["run"] != _run(status) or not set(self.patterns) <= set(note["asked"]):
            return False
        plain = [
            one
            for one in self.patterns
            if not glob.has_magic(one) and not isinstance(one, Optional)
        ]
        came = [one for one in note["fetched"] if self._includes(one)]
        return all(os.path.lexists(self.folder / one) for one in plain + came)

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
        path = PurePosixPath(name)
        return any(
            _matches(one, pattern)
            for pattern in self.patterns
            for one in (path, *path.parents)
        )

    def _remove(self, names: Iterable[str]) -> None:
        top = self.folder.resolve()
        for name in names:
            path = self.folder / name
            if path.parent.resolve() != top / PurePosixPath(name).parent:
                # The file is skipped because one of its parent directories is a link.
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
        # The job may have produced a result with the same name as the note.
        is_ours = isinstance(found, dict) and found.keys() == nothing.keys()
        return found if is_ours and all(map(_is_below, found["fetched"])) else nothing


PRESENT = """
# [DIRECTORY COUNT PATTERN...]...: print 1 for each pattern that matches, else 0
while [ $# -gt 0 ]; do
    directory=$1 count=$2
    shift 2
    while [ "$count" -gt 0 ]; do
        (
            cd -- "$directory" || exit
            [ ! -e "$1" ] && [ ! -h "$1" ] || exit 0
            IFS=
            set -- $1
            eval "last=\\${$#}"
            [ -e "$last" ] || [ -h "$last" ]
        ) 2>/dev/null && printf 1 || printf 0
        shift
        count=$((count - 1))
    done
done
"""


def present_patterns(
    shell: Callable[..., bytes], wanted: Mapping[str, tuple[JobStatus, Sequence[str]]]
) -> dict[str, list[str]]:
    """Return the patterns to download for each job id.

    An optional pattern is included only if it matches a file.  If all patterns are
    required, no request is made.
    """
    optional = {
        job_id: [one for one in patterns if isinstance(one, Optional)]
        for job_id, (_, patterns) in wanted.items()
    }
    words: list[str] = []
    for job_id, names in optional.items():
        if names:
            words += [str(wanted[job_id][0].directory), str(len(names)), *names]
    flags = iter(shell(PRESENT, *words, again=True).decode() if words else "")
    missing = {
        job_id: {name for name in names if next(flags, "1") == "0"}
        for job_id, names in optional.items()
    }
    return {
        job_id: [one for one in patterns if one not in missing[job_id]]
        for job_id, (_, patterns) in wanted.items()
    }


def _is_below(name: object) -> bool:
    """Return whether the path is relative and does not contain `..`."""
    if not isinstance(name, str):
        return False
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def _matches(path: PurePosixPath, pattern: str) -> bool:
    """Return whether the shell would expand the pattern to this path.

    A pattern matches a name with a leading dot only if the pattern has a leading dot,
    too.  A pattern also matches a file with exactly the same name as the pattern.
    """
    wanted = PurePosixPath(posixpath.normpath(pattern))
    return path == wanted or (
        len(path.parts) == len(wanted.parts)
        and all(
            fnmatchcase(name, part) and (name[0] != "." or part[0] == ".")
            for name, part in zip(path.parts, wanted.parts, strict=True)
        )
    )


def _run(status: JobStatus) -> dict[str, Any]:
    """Return values that identify one attempt of a job.

    The times alone are not enough: their resolution is one second, and a short job can
    be deleted and run again within a second.  In this case the host and native id
    distinguish the two runs.
    """
    about = status.as_dict()
    times = ("submitted", "started", "ended")
    return {key: about[key] for key in ("id", "attempt", *times, "host", "native_id")}
