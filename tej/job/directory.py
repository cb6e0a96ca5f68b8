"""Job directory: find the files, directories and links that are sent to the server.

This module checks the whole directory before tej sends anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from tej.errors import InvalidJobDirectory
from tej.job.directory_entry import Entry, check_kind, read_entry
from tej.job.file_errors import unreadable
from tej.job.ignore import IgnoreRules, LeftOut


def scan(
    directory: Path,
    *,
    everything: bool = False,
    ignore: Sequence[str] = (),
    left_out: list[Path] | None = None,
    ignored: list[Path] | None = None,
) -> Iterator[Entry]:
    """Yield all entries that are sent, sorted, each directory before its content.

    Symbolic links are not followed.  Files that `.tejignore` or a pattern in `ignore`
    excludes are skipped, and added to `ignored`.  Tool files (see `job/ignore.py`)
    are skipped unless `everything` is set, and added to `left_out`.  Raises
    InvalidJobDirectory if a file or directory cannot be read, or if an entry is a
    socket, a pipe or a device.
    """
    check_directory(directory)
    rules = IgnoreRules(directory, everything=everything, ignore=ignore)
    # A loop is used instead of recursion, because a path may have more parts than
    # Python's recursion limit allows.
    pending = [iter(_list(directory))]
    above = [""]
    while pending:
        item = next(pending[-1], None)
        if item is None:
            pending.pop()
            above.pop()
            continue
        entry = read_entry(above[-1], item)
        reason = rules.check(entry.path, entry.source, is_directory=entry.is_directory)
        if reason is LeftOut.BY_DEFAULT and left_out is not None:
            left_out.append(entry.source)
        elif reason is not None and ignored is not None:
            ignored.append(entry.source)
        if reason is not None:
            continue
        check_kind(entry)
        yield entry
        if entry.is_directory:
            pending.append(iter(_list(entry.source)))
            above.append(entry.path + "/")


def check_directory(directory: Path) -> None:
    """Raise InvalidJobDirectory if the path is not a directory."""
    if directory.is_dir():
        return
    if not directory.exists():
        has_space = " " in directory.name
        way_out = ": to run a command, write it after `--`" if has_space else ""
        raise InvalidJobDirectory(
            f"The job directory '{directory}' does not exist{way_out}"
        )
    raise InvalidJobDirectory(
        f"'{directory}' is not a directory: give the directory that contains the "
        "script, and the name of the script with --script"
    )


def _list(directory: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as found:
            return sorted(found, key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        raise unreadable(directory, error) from error
