"""A job as one tar stream each way, in constant memory.

Up: GNU format, owner 0; the objects that the server lacks; for each job `stage/` with
the files, `command`, and `spec` as its last member: an archive cut between two members
looks whole to `tar`, so what comes last tells the server that all of it has come.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from tej.errors import DownloadFailed, InvalidJobDirectory
from tej.job.directory import Entry

CHUNK = 256 * 1024
"""Bytes handed to the transport at a time."""

Progress = Callable[[int], object]
"""Told of every piece: how many bytes it has."""


class StoredObject(Protocol):
    """What of the files is kept on the server under a name made from its content."""

    @property
    def name(self) -> str: ...

    @property
    def size(self) -> int:
        """Bytes."""

    def read(self, chunk: int) -> Iterator[bytes]:
        """Its content in pieces; raises InvalidJobDirectory if that has changed."""


@dataclass(frozen=True)
class Parcel:
    """One job in an archive."""

    name: str
    """The directory it has there."""
    entries: Iterable[Entry]
    script: str | None
    """The entry that is made executable."""
    last: Sequence[tuple[str, str]]
    """The members that end it, name and text."""


def pack(
    parcels: Iterable[Parcel], objects: Iterable[StoredObject] = ()
) -> Iterator[bytes]:
    """The archive of some objects and then some jobs, in pieces.

    Raises InvalidJobDirectory if a file cannot be read, shrinks while it is, or is not
    what the object was named for any more.
    """
    buffer = _Buffer()
    yield from _pack_objects(objects, buffer)
    for parcel in parcels:
        yield from _pack_one(parcel, buffer)
    # tar reads records of twenty blocks.
    end = 2 * tarfile.BLOCKSIZE
    buffer.write(bytes(end + -(buffer.total + end) % tarfile.RECORDSIZE))
    yield buffer.take()


def _pack_objects(objects: Iterable[StoredObject], buffer: _Buffer) -> Iterator[bytes]:
    for index, stored in enumerate(objects):
        if index == 0:
            buffer.write(_folder("objects"))
        member = tarfile.TarInfo(f"objects/{stored.name}")
        member.size, member.mode = stored.size, 0o644
        buffer.write(_to_bytes(member))
        for data in stored.read(CHUNK):
            buffer.write(data)
            if buffer.size >= CHUNK:
                yield buffer.take()
        buffer.write(_padding(stored.size))


def _pack_one(parcel: Parcel, buffer: _Buffer) -> Iterator[bytes]:
    buffer.write(_folder(parcel.name) + _folder(f"{parcel.name}/stage"))
    for entry in parcel.entries:
        executable = entry.is_file and (
            entry.is_executable or entry.path == parcel.script
        )
        name = f"{parcel.name}/stage/{entry.path}"
        buffer.write(header(entry, name, executable=executable))
        if entry.is_file:
            yield from _content(entry, buffer)
        if buffer.size >= CHUNK:
            yield buffer.take()
    for name, text in parcel.last:
        content = text.encode("utf-8", "surrogateescape")
        member = tarfile.TarInfo(f"{parcel.name}/{name}")
        member.size, member.mode = len(content), 0o600
        buffer.write(_to_bytes(member) + content + _padding(len(content)))


class _Buffer:
    """Collects small writes, so that many small files go in few pieces."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = 0
        self.total = 0

    def write(self, data: bytes) -> None:
        self.parts.append(data)
        self.size += len(data)
        self.total += len(data)

    def take(self) -> bytes:
        data = b"".join(self.parts)
        self.parts, self.size = [], 0
        return data


def header(entry: Entry, name: str, *, executable: bool) -> bytes:
    """What stands before an entry's content in an archive."""
    member = tarfile.TarInfo(name)
    member.mtime = int(entry.stat.st_mtime)
    if entry.is_directory:
        member.type, member.mode = tarfile.DIRTYPE, 0o755
    elif entry.is_link:
        member.type, member.mode = tarfile.SYMTYPE, 0o777
        member.linkname = entry.link_target
    else:
        member.mode = 0o755 if executable else 0o644
        if not entry.stat.st_mode & 0o077:
            # A secret stays one: on the server, too, it is its owner's alone.
            member.mode &= 0o700
        member.size = entry.stat.st_size
    return _to_bytes(member)


def _folder(name: str) -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.mode = tarfile.DIRTYPE, 0o755
    return _to_bytes(member)


def _to_bytes(member: tarfile.TarInfo) -> bytes:
    return member.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def _padding(size: int) -> bytes:
    return bytes(-size % tarfile.BLOCKSIZE)


def _content(entry: Entry, buffer: _Buffer) -> Iterator[bytes]:
    left = entry.stat.st_size
    try:
        with entry.source.open("rb", buffering=0) as file:
            while left:
                data = file.read(min(left, CHUNK))
                if not data:
                    raise InvalidJobDirectory(
                        f"'{entry.source}' became shorter while it was sent"
                    )
                left -= len(data)
                buffer.write(data)
                if buffer.size >= CHUNK:
                    yield buffer.take()
    except OSError as error:
        raise InvalidJobDirectory(
            f"'{entry.source}' cannot be read: {error}"
        ) from error
    buffer.write(_padding(entry.stat.st_size))


class _LeftOut(DownloadFailed):
    """What cannot be had of one member, and is no reason to do without the others."""


class Unpacker:
    """Writes the members of a stream below `root`, each where `place` says.

    A file appears under its name when it is whole, never before; one that was there is
    replaced.  Raises DownloadFailed for what would lead outside of `root`: a name, a
    link, or a link that is there already.  For a link, and for what is neither a file
    nor a directory, that is done when all else was written.
    """

    def __init__(self, root: Path, place: Callable[[PurePosixPath], Path]) -> None:
        self.root = root
        self.place = place
        self.written: dict[str, Path] = {}
        """What was written so far, directories left out, by the name in the archive."""
        self._owners: dict[Path, PurePosixPath] = {}

    def unpack(self, stream: IO[bytes]) -> None:
        """Read the stream to its end: one archive, or several in a row."""
        with tarfile.open(
            fileobj=stream,
            mode="r|",
            bufsize=CHUNK,
            ignore_zeros=True,
            encoding="utf-8",
            errors="surrogateescape",
        ) as archive:
            left_out: list[str] = []
            for member in archive:
                try:
                    self._unpack_member(archive, member)
                except _LeftOut as error:
                    left_out.append(str(error))
                except (OSError, UnicodeEncodeError) as error:
                    raise DownloadFailed(
                        f"'{member.name}' cannot be written: {error}"
                    ) from error
        if left_out:
            more = f" (and {len(left_out) - 3} more)" if len(left_out) > 3 else ""
            raise DownloadFailed(
                f"{'; '.join(left_out[:3])}{more}: all else was fetched"
            )

    def _unpack_member(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        name = PurePosixPath(member.name)
        if ".." in name.parts or name.is_absolute():
            raise DownloadFailed(f"The server sent '{member.name}', which is refused")
        target = self.place(name)
        if member.isdir():
            self._check_place(target, target)
            target.mkdir(parents=True, exist_ok=True)
            return
        self._check_place(target, target.parent)
        if self._owners.setdefault(target, name) != name:
            raise DownloadFailed(
                f"'{self._owners[target]}' and '{name}' would both become '{target}'"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_name(f".tej-{secrets.token_hex(8)}.part")
        try:
            self._write(archive, member, fresh, target)
            fresh.replace(target)
        finally:
            with contextlib.suppress(OSError):
                fresh.unlink()
        self.written[str(name)] = target

    def _write(
        self,
        archive: tarfile.TarFile,
        member: tarfile.TarInfo,
        fresh: Path,
        target: Path,
    ) -> None:
        if member.issym():
            self._make_link(member.name, member.linkname, fresh, target)
        elif member.islnk():
            # Files that share their content on the server are sent once.
            first = self.written.get(str(PurePosixPath(member.linkname)))
            if first is None:
                raise DownloadFailed(f"'{member.name}' belongs to a file not sent")
            if first.is_symlink():
                self._make_link(member.name, str(first.readlink()), fresh, target)
            else:
                shutil.copy2(first, fresh)
        elif member.isreg():
            _copy_content(archive, member, fresh)
            fresh.chmod(member.mode & 0o755 | 0o600)
            os.utime(fresh, (member.mtime, member.mtime))
        else:
            raise _LeftOut(f"'{member.name}' is neither a file nor a directory")

    def _check_place(self, target: Path, directory: Path) -> None:
        try:
            within = directory.resolve().is_relative_to(self.root.resolve())
        except RuntimeError:  # a circle of links, before Python 3.13
            within = False
        if not within or target.name == "..":
            raise DownloadFailed(f"'{target}' would be outside of '{self.root}'")

    def _make_link(self, name: str, aim: str, fresh: Path, target: Path) -> None:
        parts = PurePosixPath(aim).parts
        ups = next((n for n, part in enumerate(parts) if part != ".."), len(parts))
        end = Path(os.path.normpath(target.parent.resolve() / aim))
        # Behind a name, ".." may go up from anywhere: the name may be a link itself.
        if ".." in parts[ups:] or not end.is_relative_to(self.root.resolve()):
            raise _LeftOut(
                f"'{name}' is a link to '{aim}', which leads out of what is downloaded"
            )
        fresh.symlink_to(aim)


def _copy_content(
    archive: tarfile.TarFile, member: tarfile.TarInfo, fresh: Path
) -> None:
    content = archive.extractfile(member)
    left = member.size
    with fresh.open("xb", buffering=0) as file:
        while left:
            data = content.read(min(left, CHUNK)) if content is not None else b""
            if not data:
                raise EOFError(member.name)
            file.write(data)
            left -= len(data)
