"""Job specification: `JobSpec` describes a job to submit."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tej.job.resources import Resources

Files = Mapping[str, str | bytes | os.PathLike[str]]
"""Files by their paths in the job: the content, or the path of a local file."""


class JobHandle(Protocol):
    """A submitted job, such as `tej.Job`."""

    @property
    def id(self) -> str:
        """The job's id."""


@dataclass(frozen=True)
class JobSpec:
    """Description of a job to submit: its directory, its command and its properties."""

    directory: str | os.PathLike[str] = ""
    script: str | None = None
    """File in the directory, optionally with arguments, or a shell command.

    The default is `start.sh`."""
    job_id: str | None = None
    """Id of the job.

    By default, `ensure_many` makes the id from the signature, and `submit_many` makes a
    new unique id."""
    name: str | None = None
    """Human-readable name of the job; by default the name of the directory."""
    labels: Mapping[str, str] = field(default_factory=dict)
    # repr() omits the environment and the content of files, because they may be secret
    # and logs use repr().
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Environment variables of the job; part of the signature."""
    resources: Resources | None = None
    """Resources to request; not part of the signature."""
    login: bool = False
    """Whether the login profile is sourced before the job starts.

    On some servers, only the login profile defines the command `module`."""
    everything: bool = False
    """Whether files of development tools are sent as well, such as `.git`,
    `__pycache__` and virtual environments."""
    ignore: Sequence[str] = ()
    """Patterns of files that are not sent, in addition to `.tejignore`."""
    after: Sequence[str | JobHandle | JobSpec] = ()
    """Jobs of the same queue that must succeed before this job starts.

    A job is given by its id, a `tej.Job`, or, in `ensure_graph`, a `JobSpec` of the
    same call.  The ids are part of the signature."""
    inputs: Mapping[str, str | tuple[str | JobHandle | JobSpec, str]] = field(
        default_factory=dict
    )
    """Files and directories of other jobs, by the new path in this job's directory.

    The value is "JOB:PATH" or `(job, PATH)`.  The server copies the file after the
    other job has succeeded, and before this job starts."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Parameters of a sweep, which describe the job; see `tej.job.sweep`.

    The values are stored with the job, and everybody who can list the job sees them.
    The caller must put the parameters into `environment` as well."""
    on_end: str | None = None
    """Shell command that the server runs once the job has ended, successful or not.

    The command is not part of the signature.  docs/commands.md lists its variables."""
    shared: Sequence[str] = ()
    """Paths of files and directories that this job shares with other jobs.

    The paths are relative to the directory of the job.  The files are read-only in the
    job, and the server keeps one copy of each file of 64 KB or more for all jobs.  The
    signature is the same as without `shared`."""
    files: Files | None = field(default=None, repr=False)
    """Files of the job, in place of a directory.

    The key is the path in the job.  The value is the content (`str`, `bytes`), or the
    path of a local file or directory (`pathlib.Path`).  The signature is the same as
    for a directory with these files."""

    def __post_init__(self) -> None:
        if isinstance(self.directory, JobSpec):
            raise TypeError(
                "A JobSpec is not a directory: submit it with "
                "`queue.submit_many([spec])` or `queue.ensure_many([spec])`"
            )

    @property
    def title(self) -> str:
        """The name of the job, by default the name of the directory."""
        if self.name is not None:
            return self.name
        return "job" if self.files is not None else Path(self.directory).resolve().name
