"""Content of job files: reading, hashing, change detection, holes of sparse files."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import FileIO
from typing import Any

from tej.job.directory_entry import Entry
from tej.job.file_errors import changed, unreadable
from tej.job.file_names import from_local

CHUNK = 256 * 1024
"""Number of bytes to read at a time."""

KEPT_FILE = 64 * 1024
KEPT_JOB = 256 * 1024
"""Maximum sizes in bytes of a file, and of all files of a job, that stay in memory."""

_WORKERS = 4
"""Number of threads that hash files in parallel; hashing releases Python's GIL."""

_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_BINARY", 0)
    # O_NOFOLLOW refuses a file that was replaced by a link after it was listed.
    # O_NONBLOCK keeps open() from blocking on a file that was replaced by a pipe.
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
)


class Content:
    """An open file of a job.

    If the entry has a digest, the content of the file must still match the digest.
    If the entry has no digest, `entry` is updated with the current size of the file.
    """

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self._file: FileIO | None = None
        if entry.data is None:
            self._file = _open(entry)
            if entry.digest is None:
                self.entry = replace(entry, stat=os.fstat(self._file.fileno()))

    def __enter__(self) -> Content:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def segments(self) -> list[tuple[int, int]]:
        """Return offset and length of each part of the file that is not a hole."""
        size = self.entry.size
        # Search for holes only if the blocks of the file have fewer bytes than the
        # file.  On nearly all file systems, such a file has holes.
        blocks = getattr(self.entry.stat, "st_blocks", None)
        if self._file is None or blocks is None or blocks * 512 >= size:
            return [(0, size)] if size else []
        return _find_data(self._file.fileno(), size)

    def read(
        self, segments: Iterable[tuple[int, int]] | None = None
    ) -> Iterator[bytes]:
        """Yield the content in pieces; if `segments` is given, only these segments.

        The bytes outside the segments must be zeros.  After the last piece, `entry` has
        the digest of the whole content.  Raises InvalidJobDirectory if the file is
        shorter than the size in `entry`, or if the content differs from a digest that
        `entry` already had.
        """
        if self.entry.data is not None:
            yield self.entry.data
            return
        digest = hashlib.sha256()
        end = 0
        parts = [(0, self.entry.size)] if segments is None else segments
        for start, length in parts:
            _hash_zeros(digest, start - end)
            for data in self._read_part(start, length):
                digest.update(data)
                yield data
            end = start + length
        _hash_zeros(digest, self.entry.size - end)
        found = digest.hexdigest()
        if self.entry.digest is None:
            self.entry = replace(self.entry, digest=found)
        elif self.entry.digest != found:
            raise changed(self.entry.source)

    def _read_part(self, start: int, length: int) -> Iterator[bytes]:
        assert self._file is not None
        try:
            self._file.seek(start)
            while length:
                data = self._file.read(min(length, CHUNK))
                if not data:
                    raise changed(self.entry.source)
                length -= len(data)
                yield data
        except OSError as error:
            raise unreadable(self.entry.source, error) from error


def read_entry(entry: Entry, *, keep: bool = False) -> Entry:
    """Return the entry of a file with its digest, and its data if `keep` is true."""
    with Content(entry) as content:
        pieces = [piece if keep else b"" for piece in content.read()]
        data = b"".join(pieces) if keep else None
        return replace(content.entry, data=entry.data if data is None else data)


def read_files(entries: Iterable[Entry]) -> list[Entry]:
    """Read all files whose entries have no digest; returns all entries with digests.

    The content of small files stays in memory, up to KEPT_JOB bytes in total.  If such
    a file changes afterwards, the content in memory is sent.  Raises
    InvalidJobDirectory if a file cannot be read.
    """
    listed = list(entries)
    pending: list[tuple[int, Entry, bool]] = []
    room = KEPT_JOB
    for index, entry in enumerate(listed):
        if entry.is_file and entry.digest is None:
            keep = entry.size <= min(room, KEPT_FILE)
            room -= entry.size if keep else 0
            pending.append((index, entry, keep))

    def read(one: tuple[int, Entry, bool]) -> Entry:
        _, entry, keep = one
        return read_entry(entry, keep=keep)

    if len(pending) < 2:
        # Starting threads takes longer than reading a single file.
        found = [read(one) for one in pending]
    else:
        with ThreadPoolExecutor(_WORKERS) as pool:
            found = list(pool.map(read, pending))
    for (index, _, _), entry in zip(pending, found, strict=True):
        listed[index] = entry
    return listed


def check_unchanged(entry: Entry) -> None:
    """Raise InvalidJobDirectory if a file or link has changed since it was read."""
    if entry.is_link:
        try:
            target = os.readlink(entry.source)  # noqa: PTH115 (exact text)
        except OSError as error:
            raise unreadable(entry.source, error) from error
        if from_local(target) != entry.link_target:
            raise changed(entry.source)
    elif entry.is_file and entry.digest is not None:
        read_entry(entry)


def _open(entry: Entry) -> FileIO:
    try:
        file = FileIO(os.open(entry.source, _FLAGS), "rb")
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise changed(entry.source) from error
        raise unreadable(entry.source, error) from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise changed(entry.source)
    return file


def _find_data(file: int, size: int) -> list[tuple[int, int]]:
    """Return offset and length of the parts that the file system reports as data."""
    if sys.platform == "win32" or not hasattr(os, "SEEK_DATA"):
        return [(0, size)]
    found: list[tuple[int, int]] = []
    end = 0
    try:
        while end < size:
            start = os.lseek(file, end, os.SEEK_DATA)
            end = min(os.lseek(file, start, os.SEEK_HOLE), size)
            if start < size:
                found.append((start, end - start))
    except OSError as error:
        # ENXIO means that only a hole follows, up to the end of the file.  After any
        # other error, the holes are unknown: read the whole file.
        return found if error.errno == errno.ENXIO else [(0, size)]
    return found


_ZEROS = bytes(1024 * 1024)


def _hash_zeros(digest: Any, count: int) -> None:  # noqa: ANN401 (hashlib has no type)
    while count > 0:
        digest.update(_ZEROS[:count])
        count -= len(_ZEROS)
