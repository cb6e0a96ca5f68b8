"""Entries of a job directory: files, directories and symbolic links.

A symbolic link is sent as a link.  Sockets, pipes and devices cannot be sent.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tej.errors import InvalidJobDirectory
from tej.job.file_errors import unreadable
from tej.job.file_names import from_local
from tej.job.ignore import IGNORE_FILE


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
    """Content of a small file that stays in memory; None if the file is read when it is
    sent."""
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


def read_entry(above: str, item: os.DirEntry[str]) -> Entry:
    """Return an entry of a directory, without following a symbolic link.

    `above` is the path of the directory in the job, with a slash at the end, or "".
    Raises InvalidJobDirectory if the entry cannot be read.
    """
    source = Path(item.path)
    try:
        status = item.stat(follow_symlinks=False)
        target = ""
        if stat.S_ISLNK(status.st_mode):
            # os.readlink returns the exact text; Path would turn `./sub/` into `sub`.
            target = from_local(os.readlink(source))  # noqa: PTH115
    except OSError as error:
        # Also raised if the file was removed after its directory was listed.
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
