"""Upload archive: write jobs and stored objects as one tar stream.

The archive has the GNU format and is written in constant memory.  The archive begins
with the objects that the server does not have.  Each job follows as a directory with
the folder `stage/` for the job's files, then `command`, and `spec` as the last member.
`tar` does not report an error if an archive ends between two members.  The server
therefore treats the upload of a job as complete only if `spec` has arrived.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from tej.job.directory_entry import Entry
from tej.job.file_content import CHUNK, Content
from tej.wire.file_mode import permissions
from tej.wire.tar_header import padding, saves_space, sparse_header, to_bytes


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

    def __init__(self, *, sparse: bool) -> None:
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
        self.write(to_bytes(member))

    def data(self, name: str, content: bytes, mode: int = 0o644) -> None:
        """Add a file with the given content."""
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(content), mode
        self.write(to_bytes(member) + content + padding(len(content)))

    def file(
        self,
        name: str,
        entry: Entry,
        *,
        executable: bool = False,
        mode: int | None = None,
    ) -> Generator[bytes, None, Entry]:
        """Add a file of a job; yields full pieces, and returns the entry with its
        digest."""
        with Content(entry) as content:
            member = _describe(content.entry, name, executable=executable)
            if mode is not None:
                member.mode = mode
            segments = content.segments() if self._sparse else None
            if segments is not None and saves_space(segments, content.entry.size):
                self.write(sparse_header(member, segments))
                size = sum(length for _, length in segments)
            else:
                segments, size = None, content.entry.size
                self.write(to_bytes(member))
            for data in content.read(segments):
                self.write(data)
                yield from self.full_pieces()
            self.write(padding(size))
            return content.entry


def header(entry: Entry, name: str, *, executable: bool = False) -> bytes:
    """Return the tar header of an entry; the caller adds the entry's content."""
    return to_bytes(_describe(entry, name, executable=executable))


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
