"""Name of a job in the scheduler: its allowed characters and length."""

from __future__ import annotations

import re

from tej.errors import InvalidJobDirectory

_JOB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*\Z")
_JOB_NAME_RULE = (
    ": a name consists of ASCII letters, digits, '_', '.' and '-', and begins with a "
    "letter or a digit"
)
MAX_JOB_NAME = 64


def check_job_name(name: str) -> None:
    """Raise InvalidJobDirectory if schedulers would not accept a name."""
    if not _JOB_NAME.match(name):
        raise InvalidJobDirectory(f"{name!r} is not a valid name{_JOB_NAME_RULE}")
    if len(name) > MAX_JOB_NAME:
        raise InvalidJobDirectory(
            f"The job name {name!r} is longer than {MAX_JOB_NAME} characters"
        )


def make_job_name(name: str) -> str:
    """Convert any text to a job name that schedulers accept.

    The name consists of ASCII letters, digits, `_`, `.` and `-`.
    """
    words = re.sub(r"[^A-Za-z0-9_.-]+", "_", name).lstrip("_.-")
    return words[:MAX_JOB_NAME] or "job"
