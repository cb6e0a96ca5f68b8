"""Environment variables of a job: which names and values are allowed.

A job also gets the variables of `server/lib/job_environment.sh`, and the user's own
variables on the server (`server/lib/user_environment.sh`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tej.errors import InvalidJobDirectory

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def check_environment(environment: Mapping[str, str]) -> None:
    """Raise InvalidJobDirectory if the name or value of a variable is not allowed."""
    for name, value in environment.items():
        if not _VARIABLE.match(name):
            raise InvalidJobDirectory(
                f"'{name}' is not a valid environment variable: a name consists of "
                "letters, digits and '_', and does not begin with a digit"
            )
        if name.startswith("TEJ_JOB_"):
            raise InvalidJobDirectory(f"The variable '{name}' is reserved for tej")
        if not isinstance(value, str):
            raise InvalidJobDirectory(
                f"The value of variable '{name}' must be text, not a value of type "
                f"{type(value).__name__}"
            )
        if "\0" in value:
            raise InvalidJobDirectory(f"The value of variable '{name}' contains a NUL")
        try:
            value.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            # `from None` hides the UnicodeEncodeError, because its message quotes the
            # value, which may be a secret.
            raise InvalidJobDirectory(
                f"The value of variable '{name}' contains characters that cannot be "
                "encoded as UTF-8"
            ) from None
