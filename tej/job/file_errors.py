"""Errors of job files: a file cannot be read, or was changed while it was sent."""

from __future__ import annotations

from tej.errors import InvalidJobDirectory
from tej.job.file_names import shorten_path


def unreadable(source: object, error: OSError) -> InvalidJobDirectory:
    """Return the error for a file or directory that cannot be read."""
    return InvalidJobDirectory(
        f"'{shorten_path(source)}' cannot be read: {error.strerror or error}"
    )


def changed(source: object) -> InvalidJobDirectory:
    """Return the error for a file that has changed since it was read."""
    return InvalidJobDirectory(
        f"'{shorten_path(source)}' was changed while it was sent, so the job was not "
        "started: submit the job again when its directory no longer changes"
    )
