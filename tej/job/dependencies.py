"""Dependencies of a job: the jobs that must succeed first, and files to copy from them.

A job in `after` must succeed first, but its files are not copied.  An input is a file
or directory of another job.  The server copies the input into the directory of the
dependent job before the dependent job starts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from tej.errors import InvalidJobDirectory
from tej.job.directory_entry import Entry
from tej.job.job_id import check_job_id

_OUTPUT_FILES = ("_stdout", "_stderr")


@dataclass(frozen=True)
class Input:
    """A file or directory that a job gets from another job."""

    path: str
    """Path in the directory of the job that gets the file."""
    job_id: str
    source: str
    """Path in the directory of the other job."""


@dataclass(frozen=True)
class Dependencies:
    """The dependencies of one job, in canonical order and without duplicates."""

    after: tuple[str, ...] = ()
    """Ids of the jobs that must succeed first, except the jobs of `inputs`."""
    inputs: tuple[Input, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of all jobs that must succeed first."""
        return tuple(sorted({*self.after, *(one.job_id for one in self.inputs)}))

    def origins(self) -> dict[str, tuple[str, str]]:
        """Return the job id and the path in that job for each input path."""
        return {one.path: (one.job_id, one.source) for one in self.inputs}

    def text(self) -> str:
        """Return the content of the file `dependencies` on the server."""
        lines = [f"after {job_id}\n" for job_id in self.after]
        for one in self.inputs:
            lines.append(f"from {one.job_id}/{one.source}\nto {one.path}\n")
        return "".join(lines)

    def signature_fields(self) -> Iterator[str]:
        """Yield the fields by which the dependencies enter the job's signature."""
        for job_id in self.after:
            yield from ("after", job_id)
        for one in self.inputs:
            yield from ("input", one.path, one.job_id, one.source)


NO_DEPENDENCIES = Dependencies()


def make_dependencies(
    after: Iterable[str], inputs: Mapping[str, tuple[str, str]]
) -> Dependencies:
    """Return the dependencies of a job.

    `inputs` maps a path in the job's directory to the id of another job and a path in
    the directory of that job.  Raises InvalidJobId if an id is invalid, and
    InvalidJobDirectory if a path is invalid.
    """
    found = {
        target: Input(target, check_job_id(job_id), check_path(source, "an input"))
        for target, (job_id, source) in (
            (_check_target(path), origin) for path, origin in inputs.items()
        )
    }
    from_inputs = {one.job_id for one in found.values()}
    return Dependencies(
        tuple(sorted({check_job_id(job_id) for job_id in after} - from_inputs)),
        tuple(found[path] for path in sorted(found, key=_bytes)),
    )


def parse_dependencies(text: str) -> Dependencies:
    """Parse `text`, the content of the file `dependencies` of a job."""
    after: list[str] = []
    inputs: dict[str, tuple[str, str]] = {}
    origin = ""
    for line in text.split("\n"):
        key, _, value = line.partition(" ")
        if key == "after":
            after.append(value)
        elif key == "from":
            origin = value
        elif key == "to":
            job_id, _, source = origin.partition("/")
            inputs[value] = (job_id, source)
    return make_dependencies(after, inputs)


def split_input(text: str) -> tuple[str, str]:
    """Return the job and the path in an input of the form JOB:PATH.

    Raises InvalidJobDirectory if the text does not have this form.
    """
    job, colon, path = text.partition(":")
    if not (job and colon and path):
        raise InvalidJobDirectory(f"The input {text!r} is not of the form JOB:PATH")
    return job, path


def check_inputs(dependencies: Dependencies, entries: Iterable[Entry]) -> None:
    """Raise InvalidJobDirectory if an input collides with a file of the directory."""
    if not dependencies.inputs:
        return
    kinds = {entry.path: entry for entry in entries}
    for one in dependencies.inputs:
        if one.path in kinds:
            raise InvalidJobDirectory(
                f"The directory has a file '{one.path}', which is also an input from "
                f"job '{one.job_id}': remove the file or choose another input path"
            )
        for parent in PurePosixPath(one.path).parents:
            entry = kinds.get(parent.as_posix())
            if entry is not None and not entry.is_directory:
                raise InvalidJobDirectory(
                    f"The input '{one.path}' cannot be created, because '{parent}' in "
                    "the directory is not a directory"
                )


def _check_target(text: str) -> str:
    path = check_path(text, "an input")
    if path == "." or path in _OUTPUT_FILES:
        raise InvalidJobDirectory(f"An input cannot have the path {text!r}")
    return path


def check_path(text: str, kind: str) -> str:
    """Return the canonical form of a path that is relative to the job's directory.

    Raises InvalidJobDirectory if the path is invalid; `kind` describes the file in the
    error message.
    """
    path = PurePosixPath(text)
    if not text or path.is_absolute() or ".." in path.parts:
        raise InvalidJobDirectory(
            f"The path {text!r} of {kind} is not a path below the job's directory"
        )
    if "\n" in text or "\0" in text:
        raise InvalidJobDirectory(
            f"The path {text!r} of {kind} contains a newline or NUL character"
        )
    try:
        _bytes(text)
    except UnicodeEncodeError:
        raise InvalidJobDirectory(
            f"The path {text!r} of {kind} is not valid Unicode text"
        ) from None
    return path.as_posix()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
