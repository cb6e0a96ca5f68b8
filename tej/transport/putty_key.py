"""Detect private keys in PuTTY's format, which neither ssh nor paramiko can read."""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path

MAGIC = b"PuTTY-User-Key-File-"
CONVERT = (
    "it is in PuTTY's format: convert it with `puttygen {} -O private-openssh -o NEW`"
)
"""Reason and advice for a key file; the field `{}` is the path of the file."""


def putty_key_problem(path: Path) -> str | None:
    """Return why a key file cannot be used, or None if it has another format.

    The path may come from the server, because the output of `ssh` contains the server's
    banner.  Only a regular file is read, because a terminal or a pipe could block.
    """
    with contextlib.suppress(OSError):
        if path.is_file():
            with path.open("rb") as file:
                if file.read(len(MAGIC)) == MAGIC:
                    return CONVERT.format(shlex.quote(str(path)))
    return None
