"""Hints for failed jobs: recognize common mistakes in the stderr of a job."""

from __future__ import annotations

import re

MISSING = r"(?:command )?not found|No such file or directory"

_SHELL = (
    "a feature of bash, and a script without a #! line runs under sh: begin the script "
    "with #!/bin/bash"
)
_PROFILE = (
    "may be defined by the start-up files of your login shell: use --login, or source "
    "these files in the script"
)

_HINTS: tuple[tuple[str, str], ...] = (
    (
        rf"\bpython['\u2019]?: (?:{MISSING})",
        "the server has no `python`: did you mean python3?",
    ),
    (
        # If a shell runs Python code, it also reports errors for the lines after the
        # first `import`.  The pattern therefore matches the rest of stderr, so that
        # no other hint is given.
        r"\b(?:import|from): (?:command )?not found[^\0]*",
        "the script is a Python program without a #! line: run it as "
        "`-- python3 FILE`, or begin the file with #!/usr/bin/env python3",
    ),
    (
        r"\d: (\./\S+): Permission denied",
        "if `{0}` is a program, make the file executable: chmod +x {0}",
    ),
    (
        r"(?:exec|\d): (\.{1,2}/\S+): (?:cannot execute: required file )?not found",
        "`{0}`, or the interpreter that its first line (#!) names, does not exist on "
        "the server",
    ),
    (rf"\bpip'?: (?:{MISSING})", "did you mean python3 -m pip?"),
    (
        r"\bsource: (?:command )?not found",
        f"`source` is {_SHELL}, or write `.` instead of `source`",
    ),
    (r"\[\[: (?:command )?not found", f"`[[` is {_SHELL}"),
    (
        r"Syntax error: (?:\"\(\"|\"<\"|redirection) unexpected",
        f"an array or <() is {_SHELL}",
    ),
    (r"\bBad substitution", f"the substitution is {_SHELL}"),
    (r"\b(?:module|ml): (?:command )?not found", f"`module` {_PROFILE}"),
    (r"\b(?:conda|mamba): (?:command )?not found", f"`conda` {_PROFILE}"),
    (
        r"ModuleNotFoundError: No module named '([\w.]+)'",
        "the Python of the job has no '{0}': activate an environment in the script, or "
        "install the package on the server",
    ),
    (
        r"\bArgument list too long",
        "Linux limits each argument and each variable to 128 KiB: pass long data in a "
        "file of the job",
    ),
    (
        r"\r(?:'|: )|\^M",
        "a file has Windows line endings (CRLF): save the file with LF",
    ),
)
"""Patterns that are searched in the stderr of a job, and the hint for each pattern."""


def find_hint(stderr: str) -> str | None:
    """Return a hint about the mistake that a job's stderr shows, or None.

    If `stderr` shows several mistakes, the hint is about the last mistake, because the
    job continued after the earlier mistakes.
    """
    found = [
        (match.end(), hint.format(*match.groups()))
        for pattern, hint in _HINTS
        for match in re.finditer(pattern, stderr)
    ]
    return max(found)[1] if found else None
