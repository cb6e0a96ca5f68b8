"""Command that starts a job: its start script with arguments, or a shell command."""

from __future__ import annotations

import codecs
import os
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tej.errors import InvalidJobDirectory
from tej.job.directory import check_directory
from tej.job.directory_entry import Entry
from tej.job.file_content import Content
from tej.job.file_errors import unreadable
from tej.job.file_names import from_local, shorten_path
from tej.job.ignore import IGNORE_FILE

DEFAULT_SCRIPT = "start.sh"

# The shell expands a word that contains one of these characters, so tej cannot compare
# such a word with the names of the job's files.
_SHELL_CHARACTERS = frozenset(" \t\n;&|<>()$`\\\"'*?[]#~=%!{}")

_CONTROL = frozenset("\n;&|<>()`$")

_START = 8192
"""Number of bytes at the start of a script that are checked for a byte order mark and
Windows line endings."""


@dataclass(frozen=True)
class Command:
    """The command that starts the job, in its directory on the server."""

    text: str
    """Command for /bin/sh, in which the server defines the function `tej_run`."""
    script: str | None
    """Path of the job's file that the command starts, and that is made executable.

    The value is None if the command starts no file of the job."""
    canonical: str
    """Canonical form of the command, which is part of the signature."""


def find_command(
    directory: Path,
    script: str | None,
    *,
    windows: bool = os.name == "nt",
    advice: str | None = None,
) -> Command:
    """Return the command that starts `script`.

    `script` is a file in the directory, with or without arguments, or a command for the
    server's shell.  Raises InvalidJobDirectory if the file is missing, is not a regular
    file, has Windows line endings, or begins with a byte order mark.  If `windows` is
    true, the path of the file may also contain backslashes.  `advice` replaces the end
    of the error message for a missing file.
    """
    check_directory(directory)
    text = DEFAULT_SCRIPT if script is None else script
    check_text(text, "a script or a command")
    if windows:
        text = _replace_backslashes(directory, text)
    if _lies_in(directory, text):
        _check_script(directory / text)
        name = from_local(text.removeprefix("./"))
        run = f"tej_run {shlex.quote('./' + name)}"
        return Command(run, _file_sent(directory, text), name)
    word = _first_word(text)
    if _lies_in(directory, word) and not (directory / word).is_dir():
        _check_script(directory / word)
        name = from_local(word.removeprefix("./"))
        rest = text.strip()[len(word) :]
        # `tej_run` replaces the shell with the script, so that the script itself
        # receives the signals and its exit status is recorded. A command with control
        # operators (`;`, `|`, ...) gets no `tej_run`, because the shell has to
        # interpret the operators.
        run = "" if _CONTROL & set(rest) else "tej_run "
        script_file = _file_sent(directory, word)
        return Command(f"{run}./{name}{rest}", script_file, name + rest)
    if _looks_like_file(text, word):
        more = "" if script is not None else ", or give --script or `-- COMMAND`"
        raise InvalidJobDirectory(
            f"There is no script '{word}' in '{directory}': "
            f"{advice or f'add the file{more}'}"
        )
    return Command(text, None, text.strip())


def find_command_in(entries: Iterable[Entry], script: str | None) -> Command:
    """Return the command that starts `script` in a job with these entries.

    The command is the same as from `find_command` for a directory with these entries.
    Raises InvalidJobDirectory for the same reasons, and if the script is a link.
    """
    text = DEFAULT_SCRIPT if script is None else script
    check_text(text, "a script or a command")
    found = {entry.path: entry for entry in entries}
    word = _first_word(text)
    for name in (text, word):
        entry = found.get(name.removeprefix("./"))
        if entry is None or (entry.is_directory and name != text):
            continue
        _check_entry(entry)
        rest = "" if name == text else text.strip()[len(word) :]
        run = "" if _CONTROL & set(rest) else "tej_run "
        run += shlex.quote(f"./{entry.path}")
        return Command(run + rest, entry.path, entry.path + rest)
    if _looks_like_file(text, word):
        raise InvalidJobDirectory(
            f"There is no script '{word}' in the files of the job"
        )
    return Command(text, None, text.strip())


def check_sent(command: Command, entries: Iterable[Entry], directory: Path) -> None:
    """Raise InvalidJobDirectory if the command's script is not in `entries`."""
    script = command.script
    if script is not None and all(entry.path != script for entry in entries):
        raise InvalidJobDirectory(
            f"The script '{script}' in '{directory}' is left out by {IGNORE_FILE}, or "
            "because it is a tool file: include it with a line "
            f"'!{script}' in {IGNORE_FILE}"
        )


def check_text(text: str, kind: str) -> None:
    """Raise InvalidJobDirectory if the text is empty or cannot be sent to the server.

    `kind` describes the text in the error message.
    """
    if not text.strip() or "\0" in text:
        raise InvalidJobDirectory(f"{text!r} is not {kind}")
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise InvalidJobDirectory(
            f"{text!r} is not {kind}: it contains characters that cannot be encoded as "
            "UTF-8"
        ) from error


def _replace_backslashes(directory: Path, text: str) -> str:
    """Return `text` with slashes in its first path, if the directory has this file."""
    for path in (text, text.split(None, 1)[0]):
        posix = path.replace("\\", "/")
        if posix != path and _lies_in(directory, posix):
            return text.replace(path, posix, 1)
    return text


def _lies_in(directory: Path, name: str) -> bool:
    if not name or name.startswith("/") or ".." in name.split("/"):
        return False
    try:
        return os.path.lexists(directory / name)
    except (OSError, ValueError):
        return False


def _file_sent(directory: Path, name: str) -> str | None:
    """Return the path of the file that a script's symbolic links lead to.

    Returns None if a link leads to an absolute path, because only the server can check
    that path.  Raises InvalidJobDirectory if a relative link points outside
    `directory`.
    """
    if os.name == "posix" and "/" not in name and not (directory / name).is_symlink():
        # Avoid `resolve`, which takes longer than all other steps for a small job.
        return from_local(name)
    base, real = directory.resolve(), (directory / name).resolve()
    if real.is_relative_to(base):
        return from_local(real.relative_to(base).as_posix())
    parts = Path(name).parts
    for count in range(1, len(parts) + 1):
        path = directory.joinpath(*parts[:count])
        if path.is_symlink() and path.readlink().is_absolute():
            return None
    raise InvalidJobDirectory(
        f"The script '{directory / name}' is a link to '{real}', which is outside "
        "the directory and would not be sent"
    )


def _first_word(text: str) -> str:
    """Return the first word of a command, or "" if the shell would expand the word."""
    word = text.split(None, 1)[0]
    return "" if _SHELL_CHARACTERS & set(word) else word


def _looks_like_file(text: str, word: str) -> bool:
    if not word:
        return False
    alone = text.strip() == word
    return word.startswith("./") or (
        not word.startswith("/") and ("/" in word or (alone and "." in word))
    )


def _check_script(script: Path) -> None:
    if not script.is_file():
        problem = "is not a file that can be run"
        if script.is_dir():
            problem = "is a directory"
        elif not script.exists():
            problem = f"is a link to '{script.readlink()}', which does not exist"
        raise InvalidJobDirectory(f"The script '{script}' {problem}")
    try:
        with script.open("rb") as file:
            start = file.read(_START)
    except OSError as error:
        raise unreadable(script, error) from error
    _check_start(script, start)


def _check_entry(script: Entry) -> None:
    if script.is_directory:
        raise InvalidJobDirectory(f"The script '{script.path}' is a directory")
    if script.is_link:
        raise InvalidJobDirectory(
            f"The script '{script.path}' is a link to '{script.link_target}': give the "
            "path of the file itself"
        )
    with Content(script) as content:
        _check_start(script.path, next(content.read(), b"")[:_START])


def _check_start(script: object, start: bytes) -> None:
    problem = _problem_with_start(start)
    if problem:
        raise InvalidJobDirectory(f"The script '{shorten_path(script)}' {problem}")


def _problem_with_start(start: bytes) -> str:
    """Return why a script that begins with `start` cannot run; "" if it can run."""
    if start.startswith(codecs.BOM_UTF8):
        return (
            "begins with a byte order mark (BOM), so the server does not recognize its "
            "first line: save it as UTF-8 without BOM"
        )
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "is UTF-16 (it begins with a byte order mark, BOM): save it as UTF-8"
    # Check only the first line, because a here-document may contain CRLF.
    line, newline, _ = start.partition(b"\n")
    if newline and line.endswith(b"\r") and b"\0" not in start:
        return (
            "has Windows line endings (CRLF), with which the server cannot run it: "
            "save it with LF"
        )
    return ""
