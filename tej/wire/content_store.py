"""What of a job's files the server may have already, cut into objects named by content.

A large file is one object, named by its SHA-256.  Small files, sorted by path, are
bundled: a bundle is a tar archive, named by its SHA-256 and `.tar`, and ends where the
hash of a path says so, so that a file that is added, changed or removed changes one
bundle.  What is sent is only what the server lacks; there, each job gets copies.
"""

from __future__ import annotations

import hashlib
import shlex
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import FileIO

from tej.errors import InvalidJobDirectory
from tej.job.directory import Entry
from tej.wire.archive import header

WORTH_ASKING = 3 * 1024 * 1024
"""Bytes of an upload from which it pays to ask what is there."""
LARGE = 64 * 1024
"""Bytes from which a file is an object of its own."""

HUGE = 64 * 1024 * 1024
"""Bytes from which a file of a single plain submission is just sent: to read it twice,
and to copy it on the server, takes a noticeable time."""

_BUNDLED = 64
"""Files that a bundle has on average, and a sixteenth of what it has at most."""
_BUNDLE_BYTES = 2 * 1024 * 1024


@dataclass(frozen=True)
class FileObject:
    """A large file."""

    name: str
    entry: Entry

    @property
    def size(self) -> int:
        """Bytes."""
        return self.entry.stat.st_size

    def read(self, chunk: int) -> Iterator[bytes]:
        """Its content in pieces; raises InvalidJobDirectory if that has changed."""
        digest, left = hashlib.sha256(), self.size
        with _opened(self.entry) as file:
            while left and (data := file.read(min(left, chunk))):
                digest.update(data)
                left -= len(data)
                yield data
        if left or digest.hexdigest() != self.name:
            raise _changed(self.entry)


@dataclass(frozen=True)
class Bundle:
    """Some small files."""

    entries: Sequence[Entry]
    script: str | None

    @cached_property
    def name(self) -> str:
        """Its name in the store."""
        return self._named[0]

    @cached_property
    def size(self) -> int:
        """Bytes."""
        return self._named[1]

    @cached_property
    def _named(self) -> tuple[str, int]:
        content = self._content()
        return hashlib.sha256(content).hexdigest() + ".tar", len(content)

    def read(self, chunk: int) -> Iterator[bytes]:
        """Its content in pieces; raises InvalidJobDirectory if that has changed."""
        content = self._content()
        if hashlib.sha256(content).hexdigest() + ".tar" != self.name:
            raise _changed(self.entries[0])
        for start in range(0, len(content), chunk):
            yield content[start : start + chunk]

    def _content(self) -> bytes:
        parts: list[bytes] = []
        for entry in self.entries:
            executable = entry.is_executable or entry.path == self.script
            with _opened(entry) as file:
                data = file.read()
            if len(data) != entry.stat.st_size:
                raise _changed(entry)
            padding = bytes(-len(data) % tarfile.BLOCKSIZE)
            parts += [header(entry, entry.path, executable=executable), data, padding]
        size = sum(map(len, parts))
        end = 2 * tarfile.BLOCKSIZE
        parts.append(bytes(end + -(size + end) % tarfile.RECORDSIZE))
        return b"".join(parts)


@dataclass(frozen=True)
class Plan:
    """How a job's files are brought together from objects."""

    inline: list[Entry]
    """What is sent as it is: directories, links, and large files not asked about."""
    objects: dict[str, FileObject | Bundle]
    """By name."""
    assembly: str
    """Lines for the server's shell: `file NAME PATH`, `program NAME PATH` or
    `bundle NAME`."""


def plan(
    entries: Iterable[Entry], script: str | None, contents: Mapping[str, str]
) -> Plan:
    """Cut a job's files into objects.

    `contents` has the SHA-256 of large files by their paths; those that are not in it
    are sent as they are.
    """
    inline: list[Entry] = []
    small: list[Entry] = []
    objects: dict[str, FileObject | Bundle] = {}
    lines: list[str] = []
    for entry in entries:
        if entry.is_file and entry.stat.st_size < LARGE:
            small.append(entry)
        elif entry.is_file and entry.path in contents:
            name = contents[entry.path]
            objects[name] = FileObject(name, entry)
            executable = entry.is_executable or entry.path == script
            verb = "program" if executable else "file"
            lines.append(f"{verb} {name} {shlex.quote('./' + entry.path)}")
        else:
            inline.append(entry)
    for bundle in _bundles(small, script):
        objects[bundle.name] = bundle
        lines.append(f"bundle {bundle.name}")
    return Plan(inline, objects, "".join(f"{line}\n" for line in lines))


def _bundles(entries: Iterable[Entry], script: str | None) -> Iterator[Bundle]:
    bundled: list[Entry] = []
    size = 0
    for entry in entries:
        bundled.append(entry)
        size += entry.stat.st_size
        path = entry.path.encode("utf-8", "surrogateescape")
        ends = int(hashlib.sha256(path).hexdigest()[:4], 16) % _BUNDLED == 0
        if ends or size >= _BUNDLE_BYTES or len(bundled) >= 16 * _BUNDLED:
            yield Bundle(bundled, script)
            bundled, size = [], 0
    if bundled:
        yield Bundle(bundled, script)


def _opened(entry: Entry) -> FileIO:
    try:
        return entry.source.open("rb", buffering=0)
    except OSError as error:
        raise InvalidJobDirectory(
            f"'{entry.source}' cannot be read: {error}"
        ) from error


def _changed(entry: Entry) -> InvalidJobDirectory:
    return InvalidJobDirectory(f"'{entry.source}' was changed while it was sent")
