"""Shared input: read-only files of which the server keeps one copy for all jobs.

This module marks these files in the list of the job's files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from tej.errors import InvalidJobDirectory
from tej.job.directory_entry import Entry


def mark_shared(
    entries: Iterable[Entry], paths: Sequence[str], directory: Path
) -> list[Entry]:
    """Return the entries, with `is_shared` set for the files at or below `paths`.

    Raises InvalidJobDirectory if a path is not a file or directory that is sent.
    """
    listed = list(entries)
    if not paths:
        return listed
    wanted = {PurePosixPath(path.removesuffix("/")): path for path in paths}
    found: set[PurePosixPath] = set()
    marked: list[Entry] = []
    for entry in listed:
        path = PurePosixPath(entry.path)
        above = [one for one in (path, *path.parents) if one in wanted]
        found.update(above)
        if path in wanted and entry.is_link:
            raise InvalidJobDirectory(
                f"'{entry.path}' in '{directory}' cannot be shared, because it is a "
                "symbolic link, which is sent as a link"
            )
        is_shared = bool(above) and entry.is_file
        marked.append(replace(entry, is_shared=True) if is_shared else entry)
    for path, text in wanted.items():
        if path not in found:
            raise InvalidJobDirectory(
                f"'{text}' cannot be shared, because '{directory}' has no such file to "
                "upload: give a path relative to this directory"
            )
    return marked
