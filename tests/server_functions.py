"""Functions of the server scripts that run as programs, and cannot be sourced."""

from __future__ import annotations

import pytest

in_all_shells = pytest.mark.parametrize(
    "shell", ["/bin/sh", "bash", "busybox", "ksh", "mksh", "yash"], indirect=True
)
"""Run a unit test of shell functions with each shell that may be /bin/sh on a server."""


def function(name: str, file: str) -> str:
    """Return a line of shell that defines one function of a script."""
    return f"""eval "$(sed -n '/^{name}() {{/,/^}}/p' "$here/{file}")"\n"""


def functions(names: str, file: str) -> str:
    """Return lines of shell that define several functions of a script."""
    return "".join(function(name, file) for name in names.split())
