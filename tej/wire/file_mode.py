"""Modes of uploaded files: the permissions that a file has on the server."""

from __future__ import annotations

import os
import stat

from tej.job.directory_entry import Entry


def permissions(entry: Entry, *, executable: bool) -> int:
    """Return the mode of an entry on the server, before the umask is applied.

    The owner always has the permission to read files and to write to directories,
    because tej has to create files in the job and to remove the job.
    """
    if os.name != "posix":
        known = entry.is_directory or executable or entry.is_executable
        mode = 0o755 if known else 0o644
    else:
        mode = stat.S_IMODE(entry.stat.st_mode) & 0o777
    if entry.is_directory:
        return mode | 0o700
    mode |= 0o400
    if entry.is_shared:
        mode &= ~0o222
    return mode | (mode & 0o444) >> 2 if executable else mode
