"""Case conflict: two paths of a job that differ only in case."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tej.errors import InvalidJobDirectory
from tej.job.directory_entry import Entry
from tej.job.file_names import fold_case, printable


def find_case_conflict(
    directory: Path, entries: Iterable[Entry]
) -> InvalidJobDirectory | None:
    """Return the error for the first two paths that differ only in case, or None.

    If two paths differ only in case, and the server's file system ignores case, one
    file would replace the other file during the upload.
    """
    seen: dict[str, str] = {}
    for entry in entries:
        other = seen.setdefault(fold_case(entry.path), entry.path)
        if other != entry.path:
            return InvalidJobDirectory(
                f"'{printable(other)}' and '{printable(entry.path)}' in '{directory}' "
                "differ only in case, and the file system of the queue ignores case: "
                "rename one of them, or choose a --queue on another file system"
            )
    return None
