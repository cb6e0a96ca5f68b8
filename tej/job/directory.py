"""Job directory: finds the files, directories and links that are sent to the server.

This module checks the whole directory before tej sends anything.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tej.errors import InvalidJobDirectory
from tej.job.file_names import fold_case, from_local, printable, shorten_path
from tej.job.ignore import IGNORE_FILE, IgnoreRules, LeftOut


@dataclass(frozen=True)
class Entry:
    """A file, directory or symbolic link of a job, as it was when it was listed."""

    path: str
    """Path relative to the job directory, with slashes.

    Bytes that are not UTF-8 are represented by surrogate escapes."""
    source: Path
    stat: os.stat_result
    link_target: str = ""
    """Target of a symbolic link, exactly as `readlink` returns it."""
    digest: str | None = None
    """SHA-256 of a file's content in hex, if the file has been read."""
    data: bytes | None = None
    """Content of a small file that was read; None for a file that is read when sent."""
    is_shared: bool = False
    """Whether the file is read-only in the job, so that several jobs can share one
    copy."""

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.stat.st_mode)

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.stat.st_mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.stat.st_mode)

    @property
    def size(self) -> int:
        """Size of the file in bytes."""
        return self.stat.st_size

    @cached_property
    def is_executable(self) -> bool:
        """Whether the file has an executable bit or, on Windows, begins with `#!`."""
        if os.name == "posix":
            return bool(self.stat.st_mode & 0o111)
        with self.source.open("rb") as file:
            return file.read(2) == b"#!"


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
        entry = _read_entry(above[-1], item)
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


def check_directory(directory: Path) -> None:
    """Raise InvalidJobDirectory if the path is not a directory."""
    if directory.is_dir():
        return
    if not directory.exists():
        way_out = ": write a command after `--`" if " " in directory.name else ""
        raise InvalidJobDirectory(
            f"The job directory '{directory}' does not exist{way_out}"
        )
    raise InvalidJobDirectory(
        f"'{directory}' is not a directory: give the directory that contains the "
        "script, and the name of the script with --script"
    )


def unreadable(source: object, error: OSError) -> InvalidJobDirectory:
    """Return the error for a file or directory that cannot be read."""
    return InvalidJobDirectory(
        f"'{shorten_path(source)}' cannot be read: {error.strerror or error}"
    )


def _list(directory: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as found:
            return sorted(found, key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        raise unreadable(directory, error) from error


def _read_entry(above: str, item: os.DirEntry[str]) -> Entry:
    source = Path(item.path)
    try:
        status = item.stat(follow_symlinks=False)
        target = ""
        if stat.S_ISLNK(status.st_mode):
            # os.readlink returns the exact text; Path would turn `./sub/` into `sub`.
            target = from_local(os.readlink(source))  # noqa: PTH115
    except OSError as error:
        # The file may have been removed since its directory was listed.
        raise unreadable(source, error) from error
    return Entry(above + from_local(item.name), source, status, target)


def check_kind(entry: Entry) -> None:
    """Raise InvalidJobDirectory if the entry is a socket, a pipe or a device."""
    mode = entry.stat.st_mode
    if entry.is_file or entry.is_directory or entry.is_link:
        return
    kind = "a device"
    if stat.S_ISSOCK(mode):
        kind = "a socket"
    elif stat.S_ISFIFO(mode):
        kind = "a named pipe"
    raise InvalidJobDirectory(
        f"'{entry.source}' is {kind}, which cannot be sent: remove it, or list it in "
        f"{IGNORE_FILE}"
    )
