"""Content store (cache) for uploads: objects named by a hash, each sent only once.

A large file is one object, whose name is its SHA-256.  Small files are sorted by path
and bundled.  A bundle is a tar archive, whose name is its SHA-256 and `.tar`.  The hash
of a file's path determines whether a bundle ends after the file.  Therefore a new or
changed file affects few bundles.  The server copies the objects into each job.
"""

from __future__ import annotations

import hashlib
import shlex
import stat
import tarfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tej.job.directory_entry import Entry
from tej.job.file_content import CHUNK, Content, read_entry
from tej.wire.file_mode import permissions
from tej.wire.tar_header import padding
from tej.wire.tar_writer import Writer, header

WORTH_ASKING = 3 * 1024 * 1024
"""Minimum size in bytes of an upload for which tej requests a list of missing objects.

For a smaller upload, the additional round trip would cost more time than it saves."""
SHARED = ".r"
"""Suffix of the name of an object to which jobs get hard links, instead of copies.

The object is never changed.  All links have the mode and the time of the object."""
LARGE = 64 * 1024
"""Minimum size in bytes of a file that becomes an object; smaller files are bundled."""

HUGE = 64 * 1024 * 1024
"""Minimum size in bytes of a file that is not made an object if one job is submitted.

An object would be read twice on the client, and copied on the server."""

_BUNDLED = 64
"""Average number of files per bundle; the maximum is sixteen times as many."""
_BUNDLE_BYTES = 2 * 1024 * 1024

_PATHS_PER_LINE = 200
_OBJECT_MODE = 0o644


@dataclass(frozen=True)
class FileObject:
    """A content-store object that holds one large file.

    The object stores neither mode nor modification time; the commands in
    `Plan.assembly` set both on the copy in the job's directory.
    """

    name: str
    entry: Entry

    def pack(self, writer: Writer) -> Iterator[bytes]:
        """Write the object; raises InvalidJobDirectory if the file has changed."""
        yield from writer.file(f"objects/{self.name}", self.entry, mode=_OBJECT_MODE)


@dataclass(frozen=True)
class Bundle:
    """Several small files in one tar archive."""

    name: str
    entries: Sequence[Entry]
    script: str | None

    def pack(self, writer: Writer) -> Iterator[bytes]:
        """Write the object; raises InvalidJobDirectory if a file has changed."""
        writer.data(f"objects/{self.name}", _bundle(self.entries, self.script))
        yield from writer.full_pieces()


@dataclass(frozen=True)
class Plan:
    """The objects for a job's files, and commands that copy them into the job."""

    inline: list[Entry]
    """Entries that are sent with the job: directories, links, and large files that have
    no digest."""
    stored: list[Entry]
    """Entries of files whose content is in objects; each has its digest."""
    objects: Mapping[str, FileObject | Bundle]
    """The objects of the job, by name."""
    assembly: str
    """Commands for the server's shell, one per line.

    `file NAME PATH` and `bundle NAME` copy objects to the job, and `share NAME PATH`
    links an object.  `mode OCTAL SYMBOLIC PATH...` sets the modes of files, and `mtime
    STAMP PATH...` sets their times."""


def plan(entries: Iterable[Entry], script: str | None) -> Plan:
    """Divide a job's files into objects.

    Large files without a digest are sent with the job, and not as objects.  Small files
    are read, because the name of a bundle is a hash of its content.
    """
    inline: list[Entry] = []
    small: list[Entry] = []
    large: list[Entry] = []
    linked: list[Entry] = []
    objects: dict[str, FileObject | Bundle] = {}
    lines: list[str] = []
    for entry in entries:
        if entry.is_file and entry.size < LARGE:
            small.append(entry)
        elif entry.is_file and entry.digest is not None:
            # Copy an executable file instead of linking it, because all hard links to
            # an object have the same mode, which is not executable.
            executable = entry.is_executable or entry.path == script
            is_link = entry.is_shared and not executable
            (linked if is_link else large).append(entry)
            name = entry.digest + (SHARED if is_link else "")
            objects[name] = FileObject(name, entry)
            lines.append(f"{'share' if is_link else 'file'} {name} {_quoted(entry)}")
        else:
            inline.append(entry)
    stored = [*large, *linked]
    for bundle in _bundles(small, script):
        objects[bundle.name] = bundle
        stored += bundle.entries
        lines.append(f"bundle {bundle.name}")
    lines += _mode_lines(large, script)
    # Set the times of directories last, because adding a file changes the time of its
    # directory.
    lines += _time_lines([*large, *(entry for entry in inline if entry.is_directory)])
    return Plan(inline, stored, objects, "".join(f"{line}\n" for line in lines))


def _bundles(entries: Iterable[Entry], script: str | None) -> Iterator[Bundle]:
    bundled: list[Entry] = []
    size = 0
    for entry in entries:
        bundled.append(entry)
        size += entry.size
        path = entry.path.encode("utf-8", "surrogateescape")
        ends = int(hashlib.sha256(path).hexdigest()[:4], 16) % _BUNDLED == 0
        if ends or size >= _BUNDLE_BYTES or len(bundled) >= 16 * _BUNDLED:
            yield _make_bundle(bundled, script)
            bundled, size = [], 0
    if bundled:
        yield _make_bundle(bundled, script)


def _make_bundle(entries: Sequence[Entry], script: str | None) -> Bundle:
    read = [
        entry if entry.data is not None else read_entry(entry, keep=True)
        for entry in entries
    ]
    name = hashlib.sha256(_bundle(read, script)).hexdigest() + ".tar"
    # Drop the content, which was read only to compute the bundle's name.  If the server
    # lacks the bundle, the files are read again.
    kept = [replace(new, data=old.data) for new, old in zip(read, entries, strict=True)]
    return Bundle(name, kept, script)


def _bundle(entries: Iterable[Entry], script: str | None) -> bytes:
    """Return a tar archive of some files.

    Raises InvalidJobDirectory if a file has changed since its digest was computed.
    """
    parts: list[bytes] = []
    for entry in entries:
        with Content(entry) as content:
            data = b"".join(content.read())
        executable = entry.path == script
        parts += [header(entry, entry.path, executable=executable), data]
        parts.append(padding(len(data)))
    size = sum(map(len, parts))
    end = 2 * tarfile.BLOCKSIZE
    parts.append(bytes(end + -(size + end) % tarfile.RECORDSIZE))
    return b"".join(parts)


def _mode_lines(entries: Iterable[Entry], script: str | None) -> Iterator[str]:
    """Yield the lines that set the modes of files.

    Each line has an octal and a symbolic mode.  As with tar, the root user applies the
    octal mode without its umask.  Other users apply the symbolic mode, which their
    umask restricts.
    """
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        mode = permissions(entry, executable=entry.path == script)
        if mode != _OBJECT_MODE:
            groups.setdefault(f"{mode:o} {_symbolic(mode)}", []).append(entry)
    return _grouped_lines("mode", groups)


def _symbolic(mode: int) -> str:
    """Return a mode as a symbolic mode for chmod, such as `=rwx,g-w`.

    The clause `=rwx` names no class of users, so that chmod restricts it by the umask.
    """
    words = ["=rwx"]
    for who, shift in (("u", 6), ("g", 3), ("o", 0)):
        missing = "".join(
            letter
            for letter, bit in (("r", 4), ("w", 2), ("x", 1))
            if not mode >> shift & bit
        )
        if missing:
            words.append(f"{who}-{missing}")
    return ",".join(words)


def _time_lines(entries: Iterable[Entry]) -> Iterator[str]:
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        try:
            when = time.gmtime(int(entry.stat.st_mtime))
        except (OverflowError, ValueError, OSError):
            continue
        if 0 <= when.tm_year <= 9999:
            stamp = f"{when.tm_year:04}" + time.strftime("%m%d%H%M.%S", when)
            groups.setdefault(stamp, []).append(entry)
    return _grouped_lines("mtime", groups)


def _grouped_lines(verb: str, groups: Mapping[str, Sequence[Entry]]) -> Iterator[str]:
    """Yield lines with several paths each: the server starts a process per line."""
    for words, entries in groups.items():
        for start in range(0, len(entries), _PATHS_PER_LINE):
            paths = map(_quoted, entries[start : start + _PATHS_PER_LINE])
            yield f"{verb} {words} {' '.join(paths)}"


def _quoted(entry: Entry) -> str:
    return shlex.quote("./" + entry.path)


def is_sparse(entry: Entry) -> bool:
    """Return whether a file seems to have holes of more than CHUNK bytes in total."""
    blocks = getattr(entry.stat, "st_blocks", None)
    return (
        blocks is not None
        and stat.S_ISREG(entry.stat.st_mode)
        and blocks * 512 + CHUNK < entry.stat.st_size
    )
