"""`JobSpec`: what is to be run, before it is a job."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from tej.errors import InvalidJobDirectory
from tej.job.resources import Resources

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


@dataclass(frozen=True)
class JobSpec:
    """A directory and how to run it, for `ensure_many` and `submit_many`."""

    directory: str | os.PathLike[str]
    script: str | None = None
    """A file of the directory (`start.sh` by default), or a command."""
    job_id: str | None = None
    """By default made from the signature (`ensure`), or unique (`submit`)."""
    name: str | None = None
    """For people to read; by default what the directory is called."""
    labels: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables the job sees; part of the signature."""
    resources: Resources | None = None
    """What it asks for; no part of the signature."""
    login: bool = False
    """Read first what a login shell reads, as for sites where `module` needs it."""


def check_environment(environment: Mapping[str, str]) -> None:
    """Raise InvalidJobDirectory for what cannot be a variable of the job's."""
    for name, value in environment.items():
        if not _VARIABLE.match(name):
            raise InvalidJobDirectory(f"'{name}' cannot be an environment variable")
        if name.startswith("TEJ_JOB_"):
            raise InvalidJobDirectory(f"The variable '{name}' is set by tej itself")
        if "\0" in value:
            raise InvalidJobDirectory(f"The variable '{name}' has a NUL in its value")
