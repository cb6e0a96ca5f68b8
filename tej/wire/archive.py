"""Upload archive: jobs and stored objects as one tar stream, in constant memory.

GNU format, owner 0: first the objects that the server lacks, then for each job `stage/`
with its files, `command`, and `spec` as the last member.  `tar` does not notice an
archive that ends between two members, so the last member shows that it is complete.
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from tej.job.content import CHUNK, Content
from tej.job.directory import Entry

_FIRST_SEGMENTS = 4
_MORE_SEGMENTS = 21
"""Segments that a sparse header and each block after it describe."""


@dataclass(frozen=True)
class TextMember:
    """A small file of tej's own."""

    name: str
    text: str


@dataclass(frozen=True)
class Parcel:
    """One job in an archive."""

    name: str
    """The directory that the job has in the archive."""
    entries: Iterable[Entry]
    script: str | None
    """The entry that is made executable."""
    last: Callable[[list[Entry]], Sequence[TextMember]]
    """Called with the entries as they were sent, gives the members that follow."""


class StoredObject(Protocol):
    """Content that the server keeps under a name derived from it."""

    def pack(self, writer: Writer) -> Iterator[bytes]:
        """Write the object as a member of `objects/`."""


def pack(
    parcels: Iterable[Parcel],
    objects: Iterable[StoredObject] = (),
    sparse: bool = False,
) -> Iterator[bytes]:
    """The archive of some objects and some jobs, in pieces.

    With `sparse` the holes of files are not sent; the server's tar has to know the GNU
    format of sparse files.  Raises InvalidJobDirectory if a file cannot be read, or
    differs from what it was when its digest was computed.
    """
    writer = Writer(sparse=sparse)
    for index, stored in enumerate(objects):
        if index == 0:
            writer.folder("objects")
        yield from stored.pack(writer)
    for parcel in parcels:
        yield from _pack_job(parcel, writer)
    yield writer.finish()


def _pack_job(parcel: Parcel, writer: Writer) -> Iterator[bytes]:
    writer.folder(parcel.name)
    writer.folder(f"{parcel.name}/stage")
    sent: list[Entry] = []
    for entry in parcel.entries:
        name = f"{parcel.name}/stage/{entry.path}"
        if entry.is_file:
            executable = entry.path == parcel.script
            sent.append((yield from writer.file(name, entry, executable=executable)))
        else:
            writer.write(header(entry, name))
            sent.append(entry)
            yield from writer.full_pieces()
    for member in parcel.last(sent):
        content = member.text.encode("utf-8", "surrogateescape")
        # The variables in `command` may be secrets.
        writer.data(f"{parcel.name}/{member.name}", content, 0o600)


class Writer:
    """Collects an archive, and gives it away in pieces of a useful size."""

    def __init__(self, *, sparse: bool = False) -> None:
        self._sparse = sparse
        self._parts: list[bytes] = []
        self._size = 0
        self._total = 0

    def write(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)
        self._total += len(data)

    def full_pieces(self) -> Iterator[bytes]:
        """What has been collected, once it is enough for the transport."""
        if self._size >= CHUNK:
            yield self._take()

    def finish(self) -> bytes:
        """The end of the archive; tar reads records of twenty blocks."""
        end = 2 * tarfile.BLOCKSIZE
        self.write(bytes(end + -(self._total + end) % tarfile.RECORDSIZE))
        return self._take()

    def _take(self) -> bytes:
        data = b"".join(self._parts)
        self._parts, self._size = [], 0
        return data

    def folder(self, name: str) -> None:
        """A directory of tej's own."""
        member = tarfile.TarInfo(name)
        member.type, member.mode = tarfile.DIRTYPE, 0o755
        self.write(_to_bytes(member))

    def data(self, name: str, content: bytes, mode: int = 0o644) -> None:
        """A member whose content is in memory."""
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(content), mode
        self.write(_to_bytes(member) + content + padding(len(content)))

    def file(
        self,
        name: str,
        entry: Entry,
        *,
        executable: bool = False,
        mode: int | None = None,
    ) -> Generator[bytes, None, Entry]:
        """A file of a job, in pieces; returns the entry with its digest."""
        with Content(entry) as content:
            member = _describe(content.entry, name, executable=executable)
            if mode is not None:
                member.mode = mode
            segments = content.segments() if self._sparse else None
            if segments is not None and _saves_space(segments, content.entry.size):
                self.write(_sparse_header(member, segments))
                size = sum(length for _, length in segments)
            else:
                segments, size = None, content.entry.size
                self.write(_to_bytes(member))
            for data in content.read(segments):
                self.write(data)
                yield from self.full_pieces()
            self.write(padding(size))
            return content.entry


def header(entry: Entry, name: str, *, executable: bool = False) -> bytes:
    """The block in front of an entry's content."""
    return _to_bytes(_describe(entry, name, executable=executable))


def permissions(entry: Entry, *, executable: bool) -> int:
    """The mode of an entry on the server, before the server's umask.

    The owner can read every file and write into every directory: tej has to put files
    there, and to remove the job again.
    """
    if os.name != "posix":
        known = entry.is_directory or executable or entry.is_executable
        return 0o755 if known else 0o644
    mode = stat.S_IMODE(entry.stat.st_mode) & 0o777
    if entry.is_directory:
        return mode | 0o700
    mode |= 0o400
    return mode | (mode & 0o444) >> 2 if executable else mode


def _describe(entry: Entry, name: str, *, executable: bool) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.mtime = int(entry.stat.st_mtime)
    if entry.is_link:
        member.type, member.mode = tarfile.SYMTYPE, 0o777
        member.linkname = entry.link_target
        return member
    member.mode = permissions(entry, executable=executable)
    if entry.is_directory:
        member.type = tarfile.DIRTYPE
    else:
        member.size = entry.size
    return member


def _to_bytes(member: tarfile.TarInfo) -> bytes:
    return member.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def padding(size: int) -> bytes:
    """Zeros that fill the last block."""
    return bytes(-size % tarfile.BLOCKSIZE)


def _saves_space(segments: Sequence[tuple[int, int]], size: int) -> bool:
    headers = len(segments) // _MORE_SEGMENTS * tarfile.BLOCKSIZE
    return sum(length for _, length in segments) + headers + tarfile.BLOCKSIZE < size


def _sparse_header(
    member: tarfile.TarInfo, segments: Sequence[tuple[int, int]]
) -> bytes:
    """The header of a file with holes, in the format of old GNU tar (type S).

    See "Storing Sparse Files" in the manual of GNU tar.
    """
    real_size = member.size
    listed = [*segments]
    if sum(listed[-1] if listed else (0, 0)) < real_size:
        # A segment of no bytes tells where the last hole ends.
        listed.append((real_size, 0))
    member.size = sum(length for _, length in segments)
    member.type = tarfile.GNUTYPE_SPARSE
    blocks = bytearray(_to_bytes(member))
    first, rest = listed[:_FIRST_SEGMENTS], listed[_FIRST_SEGMENTS:]
    base = len(blocks) - tarfile.BLOCKSIZE
    fields = _segment_fields(first, _FIRST_SEGMENTS) + bytes([bool(rest)])
    fields += _number(real_size)
    blocks[base + 386 : base + 386 + len(fields)] = fields
    # The checksum counts its own field as blanks.
    blocks[base + 148 : base + 156] = b" " * 8
    blocks[base + 148 : base + 155] = b"%06o\0" % sum(blocks[base:])
    while rest:
        now, rest = rest[:_MORE_SEGMENTS], rest[_MORE_SEGMENTS:]
        fields = _segment_fields(now, _MORE_SEGMENTS) + bytes([bool(rest)])
        blocks += fields.ljust(tarfile.BLOCKSIZE, b"\0")
    return bytes(blocks)


def _segment_fields(segments: Sequence[tuple[int, int]], count: int) -> bytes:
    fields = b"".join(_number(start) + _number(size) for start, size in segments)
    return fields.ljust(count * 24, b"\0")


def _number(value: int) -> bytes:
    """A field of twelve bytes: octal, or from 8 GiB on binary (GNU)."""
    if value < 8**11:
        return b"%011o\0" % value
    return b"\x80" + value.to_bytes(11, "big")
