"""Upload archive: writes jobs and stored objects as one tar stream.

The archive has the GNU format and is written in constant memory.  The archive begins
with the objects that the server does not have.  Each job follows as a directory with
the folder `stage/` for the job's files, then `command`, and `spec` as the last member.
`tar` does not report an error if an archive ends between two members.  The server
therefore treats the upload of a job as complete only if `spec` has arrived.
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from tej.job.content import CHUNK, Content
from tej.job.directory import Entry

_FIRST_SEGMENTS = 4
_MORE_SEGMENTS = 21
"""Number of segments in a sparse header, and number of segments in each block after the
header."""


@dataclass(frozen=True)
class TextMember:
    """A small text file that tej adds to a job, such as `command`."""

    name: str
    text: str


@dataclass(frozen=True)
class PackedJob:
    """A job in an archive."""

    name: str
    """Name of the job's directory in the archive."""
    entries: Iterable[Entry]
    script: str | None
    """Path of the entry that the archive makes executable, or None."""
    text_members: Callable[[list[Entry]], Sequence[TextMember]]
    """Function that takes the entries that were sent, with their digests, and returns
    the text files to add after the entries."""


class StoredObject(Protocol):
    """An object of the content store, whose name is derived from its content."""

    def pack(self, writer: Writer) -> Iterator[bytes]:
        """Write the object as a member of `objects/`; yields full pieces."""


def pack(
    jobs: Iterable[PackedJob],
    objects: Iterable[StoredObject] = (),
    sparse: bool = False,
) -> Iterator[bytes]:
    """Yield an archive of `objects` and `jobs`, in pieces.

    If `sparse` is true, the archive does not contain the holes of files; the server's
    tar must then support GNU sparse files.  Raises InvalidJobDirectory if a file cannot
    be read, or has changed since its digest was computed.
    """
    writer = Writer(sparse=sparse)
    for index, stored in enumerate(objects):
        if index == 0:
            writer.folder("objects")
        yield from stored.pack(writer)
    for job in jobs:
        yield from _pack_job(job, writer)
    yield writer.finish()


def _pack_job(job: PackedJob, writer: Writer) -> Iterator[bytes]:
    writer.folder(job.name)
    writer.folder(f"{job.name}/stage")
    sent: list[Entry] = []
    for entry in job.entries:
        name = f"{job.name}/stage/{entry.path}"
        if entry.is_file:
            executable = entry.path == job.script
            sent.append((yield from writer.file(name, entry, executable=executable)))
        else:
            writer.write(header(entry, name))
            sent.append(entry)
            yield from writer.full_pieces()
    for member in job.text_members(sent):
        content = member.text.encode("utf-8", "surrogateescape")
        # Only the owner may read the file, because `command` contains environment
        # variables, which may be secrets.
        writer.data(f"{job.name}/{member.name}", content, 0o600)


class Writer:
    """Collects the data of an archive and returns it in pieces of at least CHUNK bytes.

    Only the last piece may be smaller.
    """

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
        """Yield the data collected so far, if it has at least CHUNK bytes."""
        if self._size >= CHUNK:
            yield self._take()

    def finish(self) -> bytes:
        """Return the rest of the archive, with zeros that fill its last tar record."""
        end = 2 * tarfile.BLOCKSIZE
        self.write(bytes(end + -(self._total + end) % tarfile.RECORDSIZE))
        return self._take()

    def _take(self) -> bytes:
        data = b"".join(self._parts)
        self._parts, self._size = [], 0
        return data

    def folder(self, name: str) -> None:
        """Add a directory that tej itself creates, such as `stage/`."""
        member = tarfile.TarInfo(name)
        member.type, member.mode = tarfile.DIRTYPE, 0o755
        self.write(_to_bytes(member))

    def data(self, name: str, content: bytes, mode: int = 0o644) -> None:
        """Add a file with the given content."""
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
        """Add a file of a job; yields full pieces, returns the entry with a digest."""
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
    """Return the tar header of an entry; the content of the entry has to follow."""
    return _to_bytes(_describe(entry, name, executable=executable))


def permissions(entry: Entry, *, executable: bool) -> int:
    """Return the mode of an entry on the server, before the umask is applied.

    The owner may read every file and write to every directory, because tej has to
    create files in the job and to remove the job.
    """
    if os.name != "posix":
        known = entry.is_directory or executable or entry.is_executable
        mode = 0o755 if known else 0o644
    else:
        mode = stat.S_IMODE(entry.stat.st_mode) & 0o777
    if entry.is_directory:
        return mode | 0o700
    mode |= 0o400
    if entry.is_shared:
        mode &= ~0o222
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
    """Return the header of a member in the GNU format.

    For most members, only the name and the checksum are computed: most members of an
    upload differ only in their names, and `TarInfo.tobuf` takes much longer.
    """
    name = member.name.encode("utf-8", "surrogateescape")
    if member.isdir():
        name += b"/"
    if len(name) > tarfile.LENGTH_NAME or member.linkname or name.endswith(b"//"):
        return member.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
    fields, rest, checksum = _unnamed_header(
        member.type, member.mode, member.size, member.mtime
    )
    padded = name.ljust(tarfile.LENGTH_NAME, b"\0")
    return b"%b%b%06o\0%b" % (padded, fields, checksum + sum(name), rest)


@lru_cache(maxsize=1024)
def _unnamed_header(
    kind: bytes, mode: int, size: int, mtime: float
) -> tuple[bytes, bytes, int]:
    """Return the parts of a header before and after the checksum, and the checksum.

    The first part begins after the name, and the checksum does not include the name.
    """
    member = tarfile.TarInfo("-")
    member.type, member.mode, member.size, member.mtime = kind, mode, size, mtime
    header = member.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
    name, fields = header[: tarfile.LENGTH_NAME], header[tarfile.LENGTH_NAME : 148]
    return fields, header[155:], int(header[148:154], 8) - sum(name)


def padding(size: int) -> bytes:
    """Return the zeros that fill the last tar block of a file of `size` bytes."""
    return bytes(-size % tarfile.BLOCKSIZE)


def _saves_space(segments: Sequence[tuple[int, int]], size: int) -> bool:
    headers = len(segments) // _MORE_SEGMENTS * tarfile.BLOCKSIZE
    return sum(length for _, length in segments) + headers + tarfile.BLOCKSIZE < size


def _sparse_header(
    member: tarfile.TarInfo, segments: Sequence[tuple[int, int]]
) -> bytes:
    """Return the tar header of a sparse file, in the old GNU format (type S).

    The section "Storing Sparse Files" in the manual of GNU tar describes the format.
    """
    real_size = member.size
    listed = [*segments]
    if sum(listed[-1] if listed else (0, 0)) < real_size:
        # If the file ends with a hole, an empty segment marks the end of that hole.
        listed.append((real_size, 0))
    member.size = sum(length for _, length in segments)
    member.type = tarfile.GNUTYPE_SPARSE
    blocks = bytearray(_to_bytes(member))
    first, rest = listed[:_FIRST_SEGMENTS], listed[_FIRST_SEGMENTS:]
    base = len(blocks) - tarfile.BLOCKSIZE
    fields = _segment_fields(first, _FIRST_SEGMENTS) + bytes([bool(rest)])
    fields += _number(real_size)
    blocks[base + 386 : base + 386 + len(fields)] = fields
    # While the checksum is computed, the field for the checksum must contain spaces.
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
    """Format a number as twelve bytes: octal below 8 GiB, GNU's binary form above."""
    if value < 8**11:
        return b"%011o\0" % value
    return b"\x80" + value.to_bytes(11, "big")
