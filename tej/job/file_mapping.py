"""Job without a directory: each path in the job maps to text, bytes or a local file.

The signature is the same as for a directory with these files.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath

from tej.errors import InvalidJobDirectory
from tej.job.dependencies import check_path
from tej.job.directory_entry import Entry, check_kind
from tej.job.file_errors import unreadable
from tej.job.spec import Files
from tej.job.start_script import Command, find_command, find_command_in

Scan = Callable[[Path], Iterable[Entry]]
"""Function that lists a directory, such as `tej.scan`."""


@dataclass(frozen=True)
class MemoryEntry(Entry):
    """A file whose content is in memory, or a directory that contains such a file."""

    @cached_property
    def is_executable(self) -> bool:
        # A file in memory has no permissions.  The job's script is made executable
        # anyway, because the command starts it.
        return False


def list_job(
    directory: str | os.PathLike[str],
    files: Files | None,
    script: str | None,
    scan: Scan,
) -> tuple[Command, list[Entry]]:
    """Return the command and the entries of a job.

    Raises InvalidJobDirectory unless either a directory or `files` is given.
    """
    if (directory == "") is (files is None):
        raise InvalidJobDirectory("A job needs either a directory or `files`")
    if files is None:
        folder = Path(directory)
        return find_command(folder, script), [*scan(folder)]
    entries = list_files(files, scan)
    return find_command_in(entries, script), entries


def list_files(files: Files, scan: Scan) -> list[Entry]:
    """Return the entries of a job, each directory before its content.

    A local directory in `files` is listed by `scan`.  Raises InvalidJobDirectory if a
    path is not valid, if two paths collide, or if a local file cannot be read.
    """
    found: dict[str, Entry] = {}
    for text, content in files.items():
        path = check_path(text, "a file")
        if path == ".":
            raise InvalidJobDirectory(
                f"A file of the job cannot have the path {text!r}"
            )
        for entry in _entries(path, content, scan):
            if entry.path in found:
                raise InvalidJobDirectory(
                    f"The path '{entry.path}' occurs twice in the files of the job"
                )
            found[entry.path] = entry
    for path in [*found]:
        for parent in PurePosixPath(path).parents[:-1]:
            above = found.setdefault(
                parent.as_posix(), _in_memory(parent.as_posix(), stat.S_IFDIR | 0o755)
            )
            if not above.is_directory:
                raise InvalidJobDirectory(
                    f"The path '{path}' of the job is below '{parent}', which is a file"
                )
    return [found[path] for path in sorted(found)]


def _entries(
    path: str, content: str | bytes | os.PathLike[str], scan: Scan
) -> Iterator[Entry]:
    if isinstance(content, str | bytes):
        data = content if isinstance(content, bytes) else _to_utf8(path, content)
        yield _in_memory(path, stat.S_IFREG | 0o644, data)
        return
    try:
        # Resolve links here, because `Content` refuses to open a link.
        source = Path(content).resolve(strict=True)
        entry = Entry(path, source, source.stat())
    except OSError as error:
        raise unreadable(content, error) from error
    except UnicodeEncodeError:
        raise InvalidJobDirectory(
            f"The local path {str(content)!r} is not valid Unicode text"
        ) from None
    check_kind(entry)
    yield entry
    if entry.is_directory:
        for one in scan(source):
            yield replace(one, path=f"{path}/{one.path}")


def _to_utf8(path: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidJobDirectory(
            f"The text of the file '{path}' cannot be written in UTF-8 "
            f"({error.reason}): give the content as bytes"
        ) from error


def _in_memory(path: str, mode: int, data: bytes | None = None) -> MemoryEntry:
    # Use the current time as modification time, because some servers remove old files.
    now = int(time.time())
    status = os.stat_result((mode, 0, 0, 1, 0, 0, len(data or b""), now, now, now))
    digest = None if data is None else hashlib.sha256(data).hexdigest()
    return MemoryEntry(path, Path(path), status, digest=digest, data=data)
