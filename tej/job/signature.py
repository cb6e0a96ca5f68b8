"""Content signature of a job: SHA-256 over its files, command and environment.

The signature is the SHA-256 of a sequence of fields, each written as a netstring
(https://cr.yp.to/proto/netstrings.txt): its length in bytes as a decimal number, a
colon, the bytes, a comma.  The fields are, in this order:

1. `tej-signature-1`, or `tej-signature-2` if the job has dependencies
2. `command`, then the command in UTF-8.  If the command starts a script in the
   directory, the field is the path of the script without a leading `./`, followed by
   the rest of the command line.  For any other command, the field is the whole shell
   command, without leading and trailing white space.
3. For each environment variable, sorted by name: `environment`, the name, the value.
4. For each needed job from which no input is copied, sorted: `after`, the id.
   For each input, sorted by the bytes of its path: `input`, its path, the id of the
   other job, the path there.
5. For each entry of the directory, sorted by the bytes of its path: its kind, its
   relative path with `/` between the names, and its content.  The kinds are `directory`
   (the content is empty), `link` (the content is the target), and `file` or
   `executable` (the content is the SHA-256 of the file as 64 lower-case hex digits).

A file is executable if any user may execute it, or if it is the script that the command
starts.  On Windows, where files have no permission to execute, a file is executable if
it begins with `#!`.  Only files that are sent are part of the signature (see
`job/ignore.py`).  The signature does not depend on the directory's name, times, owners,
labels, resources or the server.  `docs/signature.md` has test vectors.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial

from tej.job.dependencies import (
    NO_DEPENDENCIES,
    Dependencies,
    make_dependencies,
    split_input,
)
from tej.job.directory import scan
from tej.job.directory_entry import Entry
from tej.job.environment import check_environment
from tej.job.file_content import read_files
from tej.job.file_mapping import list_job
from tej.job.job_id import ID_DIGITS, ID_PREFIX
from tej.job.spec import Files
from tej.job.start_script import Command


def signature(
    directory: str | os.PathLike[str] = "",
    script: str | None = None,
    environment: Mapping[str, str] | None = None,
    *,
    everything: bool = False,
    ignore: Sequence[str] = (),
    after: Iterable[str] = (),
    inputs: Mapping[str, str | tuple[str, str]] | None = None,
    files: Files | None = None,
) -> str:
    """Return the signature of a job: 64 hex digits.

    `everything` includes the files of development tools, such as `.git`.  `ignore` are
    patterns of files that are not sent, in addition to `.tejignore`.  `after` and
    `inputs` contain ids of jobs, and `files` are given in place of a directory; see
    `JobSpec`.  Raises InvalidJobDirectory if the job cannot be submitted.
    """
    check_environment(environment or {})
    command, entries = list_job(
        directory, files, script, partial(scan, everything=everything, ignore=ignore)
    )
    needs = make_dependencies(
        after,
        {
            path: split_input(origin) if isinstance(origin, str) else origin
            for path, origin in (inputs or {}).items()
        },
    )
    return compute(command, entries, environment or {}, needs)


def make_id(digest: str) -> str:
    """Return the job id for the digest of a signature, such as `sig-683eedf3...`."""
    return ID_PREFIX + digest[:ID_DIGITS]


def compute(
    command: Command,
    entries: Iterable[Entry],
    environment: Mapping[str, str],
    needs: Dependencies = NO_DEPENDENCIES,
) -> str:
    """Return the signature of a command, entries, an environment and dependencies.

    The files of entries without a digest are read.
    """
    ordered = sorted(read_files(entries), key=lambda entry: _bytes(entry.path))
    digest = hashlib.sha256()
    for field in _fields(command, ordered, environment, needs):
        digest.update(b"%d:%b," % (len(field), field))
    return digest.hexdigest()


def _fields(
    command: Command,
    ordered: Iterable[Entry],
    environment: Mapping[str, str],
    needs: Dependencies,
) -> Iterator[bytes]:
    # Use version 2 only for dependencies, so that a job without dependencies has the
    # same signature as in earlier versions of tej.
    yield b"tej-signature-2" if needs.ids else b"tej-signature-1"
    yield b"command"
    yield _bytes(command.canonical)
    for name, value in sorted(environment.items(), key=lambda item: _bytes(item[0])):
        yield b"environment"
        yield _bytes(name)
        yield _bytes(value)
    yield from map(_bytes, needs.signature_fields())
    for entry in ordered:
        if entry.is_directory:
            yield from (b"directory", _bytes(entry.path), b"")
        elif entry.is_link:
            yield from (b"link", _bytes(entry.path), _bytes(entry.link_target))
        else:
            executable = entry.is_executable or entry.path == command.script
            yield b"executable" if executable else b"file"
            yield _bytes(entry.path)
            yield (entry.digest or "").encode()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
