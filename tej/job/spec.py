"""`JobSpec`: the description of a job before it is submitted."""

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
    """A readable name; by default that of the directory."""
    labels: Mapping[str, str] = field(default_factory=dict)
    # Values may be secrets: they do not belong into logs and tracebacks.
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Environment variables of the job; part of the signature."""
    resources: Resources | None = None
    """Resources to request; not part of the signature."""
    login: bool = False
    """Source the login profile before the job starts, where `module` needs it."""
    everything: bool = False
    """Also send files of tools, such as `.git`, `__pycache__` and virtual
    environments."""


def check_environment(environment: Mapping[str, str]) -> None:
    """Raise InvalidJobDirectory if a job cannot have one of these variables."""
    for name, value in environment.items():
        if not _VARIABLE.match(name):
            raise InvalidJobDirectory(f"'{name}' cannot be an environment variable")
        if name.startswith("TEJ_JOB_"):
            raise InvalidJobDirectory(f"The variable '{name}' is set by tej itself")
        if "\0" in value:
            raise InvalidJobDirectory(f"The value of variable '{name}' contains a NUL")
        try:
            value.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            # Without the cause, which quotes the value: it may be a secret.
            raise InvalidJobDirectory(
                f"The value of variable '{name}' is not text"
            ) from None
