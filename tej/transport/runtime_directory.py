"""Runtime directory: the private directory of this user for the sockets of `ssh`."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from tej.errors import ConnectionFailed

MAX_PATH = 104 - 1 - 17
"""Maximum length of a socket path.

BSD and macOS permit 103 characters, and `ssh` appends 17 characters while it creates
the socket."""
LAST_RESORT = "/tmp"


def runtime_directory() -> Path:
    """Return a directory for sockets that only this user can access.

    The directory is created if it does not exist.  Raises ConnectionFailed if no
    private directory can be created.
    """
    candidates = [
        os.environ.get("XDG_RUNTIME_DIR"),
        os.environ.get("TMPDIR"),
        LAST_RESORT,
    ]
    error: Exception | None = None
    for parent in candidates:
        if not parent or len(parent) > MAX_PATH - 40:
            continue
        path = Path(parent) / f"tej-{os.getuid()}"
        try:
            path.mkdir(mode=0o700, exist_ok=True)
            found = path.lstat()
        except OSError as failed:
            error = failed
            continue
        private = stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077
        if private and found.st_uid == os.getuid():
            return path
        error = PermissionError(f"{path} is not a private directory of this user")
    raise ConnectionFailed(
        "There is no private directory for the sockets of ssh; set XDG_RUNTIME_DIR to "
        f"a directory that only you can read ({error})"
    )
