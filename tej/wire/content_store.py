"""Content store: files as objects named by content, sent only where they are missing.

A large file is one object, named by its SHA-256.  Small files, sorted by path, are
bundled: a bundle is a tar archive, named by its SHA-256 and `.tar`.  A bundle ends
where the hash of a path says so, so that one changed, added or removed file changes one
bundle.  On the server each job gets copies of its objects.
"""

from __future__ import annotations

import hashlib
import shlex
import stat
import tarfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tej.job.content import CHUNK, Content, read_entry
from tej.job.directory import Entry
from tej.wire.archive import Writer, header, padding, permissions

WORTH_ASKING = 3 * 1024 * 1024
"""Bytes of an upload from which it pays to ask what the server has."""
LARGE = 64 * 1024
"""Bytes from which a file is an object of its own."""

HUGE = 64 * 1024 * 1024
"""Bytes from which a file of a single plain submission is just sent: reading it twice
and copying it on the server would take a noticeable time."""

_BUNDLED = 64
"""Files per bundle on average; sixteen times as many at most."""
_BUNDLE_BYTES = 2 * 1024 * 1024

_PATHS_PER_LINE = 200
_OBJECT_MODE = 0o644


@dataclass(frozen=True)
class FileObject:
    """A large file.  Its mode and time belong to the job, see `Plan.assembly`."""

    name: str
    entry: Entry

    def pack(self, writer: Writer) -> Iterator[bytes]:
        """Write the object; raises InvalidJobDirectory if the file has changed."""
        yield from writer.file(f"objects/{self.name}", self.entry, mode=_OBJECT_MODE)


@dataclass(frozen=True)
class Bundle:
    """Some small files."""

    name: str
    entries: Sequence[Entry]
    script: str | None

    def pack(self, writer: Writer) -> Iterator[bytes]:
        """Write the object; raises InvalidJobDirectory if a file has changed."""
        writer.data(f"objects/{self.name}", _bundle(self.entries, self.script))
        yield from writer.full_pieces()


@dataclass(frozen=True)
class Plan:
    """How the files of a job are composed of objects."""

    inline: list[Entry]
    """Entries that are sent as they are: directories, links, files without digest."""
    stored: list[Entry]
    """Entries that are in objects, with their digests."""
    objects: Mapping[str, FileObject | Bundle]
    """By name."""
    assembly: str
    """Lines for the server's shell: `file NAME PATH`, `bundle NAME`, and then for files
    that are objects `mode OCTAL SYMBOLIC PATH...` and `mtime STAMP PATH...`."""


def plan(entries: Iterable[Entry], script: str | None) -> Plan:
    """Divide a job's files into objects.

    Large files without digest are sent as they are; small ones are read.
    """
    inline: list[Entry] = []
    small: list[Entry] = []
    large: list[Entry] = []
    objects: dict[str, FileObject | Bundle] = {}
    lines: list[str] = []
    for entry in entries:
        if entry.is_file and entry.size < LARGE:
            small.append(entry)
        elif entry.is_file and entry.digest is not None:
            large.append(entry)
            objects[entry.digest] = FileObject(entry.digest, entry)
            lines.append(f"file {entry.digest} {_quoted(entry)}")
        else:
            inline.append(entry)
    stored = [*large]
    for bundle in _bundles(small, script):
        objects[bundle.name] = bundle
        stored += bundle.entries
        lines.append(f"bundle {bundle.name}")
    lines += _mode_lines(large, script)
    # Putting a file into a directory changes the time of that.
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
    # Content that was read only for this is read again if it has to be sent.
    kept = [replace(new, data=old.data) for new, old in zip(read, entries, strict=True)]
    return Bundle(name, kept, script)


def _bundle(entries: Iterable[Entry], script: str | None) -> bytes:
    """The archive of some files; raises InvalidJobDirectory if one has changed."""
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
    """Like tar, the server's root ignores its umask and takes the octal mode; others
    take the symbolic one, which their umask restricts."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        mode = permissions(entry, executable=entry.path == script)
        if mode != _OBJECT_MODE:
            groups.setdefault(f"{mode:o} {_symbolic(mode)}", []).append(entry)
    return _grouped_lines("mode", groups)


def _symbolic(mode: int) -> str:
    """A mode for chmod: without u, g or o in front, the umask applies."""
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
    """A line for many paths at once: each costs the server a process."""
    for words, entries in groups.items():
        for start in range(0, len(entries), _PATHS_PER_LINE):
            paths = map(_quoted, entries[start : start + _PATHS_PER_LINE])
            yield f"{verb} {words} {' '.join(paths)}"


def _quoted(entry: Entry) -> str:
    return shlex.quote("./" + entry.path)


def is_sparse(entry: Entry) -> bool:
    """Whether a file seems to have holes that are worth not sending."""
    blocks = getattr(entry.stat, "st_blocks", None)
    return (
        blocks is not None
        and stat.S_ISREG(entry.stat.st_mode)
        and blocks * 512 + CHUNK < entry.stat.st_size
    )
