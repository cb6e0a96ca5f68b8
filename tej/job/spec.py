"""`JobSpec`, the description of a job to submit; check of environment variables."""

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
    """A directory and how to run it: the input of `submit_many` and `ensure_many`."""

    directory: str | os.PathLike[str]
    script: str | None = None
    """File in the directory, optionally with arguments, or a shell command.

    The default is `start.sh`."""
    job_id: str | None = None
    """Id of the job.  The default is made from the signature by `ensure_many`, and is
    unique in `submit_many`."""
    name: str | None = None
    """Readable name; by default the name of the directory."""
    labels: Mapping[str, str] = field(default_factory=dict)
    # Kept out of repr(), and so out of logs and tracebacks: values may be secrets.
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Environment variables of the job; part of the signature."""
    resources: Resources | None = None
    """Resources to request; not part of the signature."""
    login: bool = False
    """Source the login profile before the job starts; some servers need this for
    `module`."""
    everything: bool = False
    """Also send the files of development tools, such as `.git`, `__pycache__` and
    virtual environments."""


def check_environment(environment: Mapping[str, str]) -> None:
    """Raise InvalidJobDirectory for a variable whose name or value is not allowed."""
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
            # The cause is dropped because it quotes the value, which may be a secret.
            raise InvalidJobDirectory(
                f"The value of variable '{name}' is not text"
            ) from None
