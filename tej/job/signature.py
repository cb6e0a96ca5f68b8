"""A directory and a command, to the id they always have.

The signature is the SHA-256 of a sequence of fields, each written as a netstring
(https://cr.yp.to/proto/netstrings.txt): its length in bytes as a decimal number, a
colon, the bytes, a comma.  The fields are, in this order:

1. `tej-signature-1`
2. `command`, and the command: the script's path in the directory without a leading
   `./`, with what follows it; or the full command.  UTF-8, without blanks around it.
3. for each environment variable, by name: `environment`, the name, the value
4. for each entry of the directory, sorted by the bytes of its path: its kind, its path
   from the directory with `/` between the names, and its content:
   `directory` (content empty), `link` (content: where it points), `file` or
   `executable` (content: the SHA-256 of its bytes as 64 lower-case hex digits)

A file is executable if anybody may execute it, or if the command starts it; on Windows,
which has no such permission, if it begins with `#!`.  What `.tejignore` leaves out is
not there.  Neither is the name of the directory, nor times, owners, labels, resources,
nor the server.  `docs/signature.md` has test vectors.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tej.errors import InvalidJobDirectory
from tej.job.directory import Command, Entry, find_command, scan

ID_PREFIX = "sig-"
ID_DIGITS = 20

_CHUNK = 1 << 20
_WORKERS = 4
"""Threads that hash files: hashing lets go of the interpreter's lock."""


def signature(
    directory: str | os.PathLike[str],
    script: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """The signature of a job: 64 hex digits.

    Raises InvalidJobDirectory for what could not be submitted.
    """
    folder = Path(directory)
    return compute(find_command(folder, script), scan(folder), environment or {})


def make_id(digest: str) -> str:
    """The job id that goes with a signature."""
    return ID_PREFIX + digest[:ID_DIGITS]


def compute(
    command: Command,
    entries: Iterable[Entry],
    environment: Mapping[str, str],
    contents: Mapping[str, str] | None = None,
) -> str:
    """The same, for a directory that was read already; `contents` as `digest_files`
    gives them, if it was asked before."""
    ordered = sorted(entries, key=lambda entry: _bytes(entry.path))
    if contents is None:
        contents = digest_files(ordered)
    digest = hashlib.sha256()
    for field in _fields(command, ordered, environment, contents):
        digest.update(b"%d:%b," % (len(field), field))
    return digest.hexdigest()


def digest_files(entries: Iterable[Entry]) -> dict[str, str]:
    """The SHA-256 of each file's content in hex, by the file's path.

    Raises InvalidJobDirectory for a file that cannot be read.
    """
    files = [entry for entry in entries if entry.is_file]
    if len(files) < 2:
        # Threads would take longer than that.
        return {entry.path: _file_digest(entry) for entry in files}
    with ThreadPoolExecutor(_WORKERS) as pool:
        digests = pool.map(_file_digest, files)
        return {
            entry.path: digest for entry, digest in zip(files, digests, strict=True)
        }


def _fields(
    command: Command,
    ordered: Iterable[Entry],
    environment: Mapping[str, str],
    contents: Mapping[str, str],
) -> Iterator[bytes]:
    yield b"tej-signature-1"
    yield b"command"
    yield _bytes(command.canonical)
    for name, value in sorted(environment.items(), key=lambda item: _bytes(item[0])):
        yield b"environment"
        yield _bytes(name)
        yield _bytes(value)
    for entry in ordered:
        if entry.is_directory:
            yield from (b"directory", _bytes(entry.path), b"")
        elif entry.is_link:
            yield from (b"link", _bytes(entry.path), _bytes(entry.link_target))
        else:
            executable = entry.is_executable or entry.path == command.script
            yield b"executable" if executable else b"file"
            yield _bytes(entry.path)
            yield contents[entry.path].encode()


def _file_digest(entry: Entry) -> str:
    digest = hashlib.sha256()
    try:
        with entry.source.open("rb", buffering=0) as file:
            while data := file.read(_CHUNK):
                digest.update(data)
    except OSError as error:
        raise InvalidJobDirectory(
            f"'{entry.source}' cannot be read: {error}"
        ) from error
    return digest.hexdigest()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
