"""What a local directory is as a job: its files, and the script that starts it.

All that can be wrong with it is found here, before anything is sent.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tej.errors import InvalidJobDirectory

DEFAULT_SCRIPT = "start.sh"
IGNORE_FILE = ".tejignore"

# A command of one word is a program of the server's, unless it looks like a file.
_SHELL_CHARACTERS = frozenset(" \t\n;&|<>()$`\\\"'*?[]#~=%!{}")

_CONTROL = frozenset("\n;&|<>()`$")


@dataclass(frozen=True)
class Entry:
    """A file, directory or symbolic link of a job."""

    path: str
    """Relative, with slashes; bytes that are no UTF-8 as surrogates."""
    source: Path
    stat: os.stat_result

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.stat.st_mode)

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.stat.st_mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.stat.st_mode)

    @property
    def is_executable(self) -> bool:
        if os.name == "posix":
            return bool(self.stat.st_mode & 0o111)
        with self.source.open("rb") as file:
            return file.read(2) == b"#!"

    @property
    def link_target(self) -> str:
        # Letter by letter: a Path would make `sub/` and `./sub` the same.
        return os.readlink(self.source)  # noqa: PTH115


@dataclass(frozen=True)
class Command:
    """How the job is started, seen from its own directory on the server."""

    text: str
    """For /bin/sh, in which leader.sh defines `tej_run`."""
    script: str | None
    """The file of the job that it starts; it is made executable.  None for a program of
    the server's."""
    canonical: str
    """The same for all ways to write it; this goes into the signature."""


class _Ignored(Protocol):
    def match_file(self, file: str) -> bool: ...


def scan(directory: Path) -> Iterator[Entry]:
    """All that is to be sent, directories before what is in them, in sorted order.

    Symbolic links are kept as links.  Left out is what `.tejignore` (gitignore's
    patterns) in the directory says.  Raises InvalidJobDirectory for what is not a
    directory, and for sockets, pipes and devices in it.
    """
    _check_directory(directory)
    yield from _scan(directory, "", _ignored(directory))


def _scan(directory: Path, above: str, ignored: _Ignored | None) -> Iterator[Entry]:
    try:
        with os.scandir(directory) as found:
            entries = sorted(found, key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        raise InvalidJobDirectory(f"'{directory}' cannot be read: {error}") from error
    for item in entries:
        entry = Entry(
            above + item.name, Path(item.path), item.stat(follow_symlinks=False)
        )
        slash = "/" if entry.is_directory else ""
        if ignored is not None and ignored.match_file(entry.path + slash):
            continue
        mode = entry.stat.st_mode
        if not (stat.S_ISREG(mode) or entry.is_directory or entry.is_link):
            raise InvalidJobDirectory(
                f"'{entry.source}' is {_kind(mode)}, which cannot be sent: remove it, "
                f"or name it in {IGNORE_FILE}"
            )
        yield entry
        if entry.is_directory:
            yield from _scan(entry.source, entry.path + "/", ignored)


def _check_directory(directory: Path) -> None:
    if not directory.is_dir():
        what = "is not a directory" if directory.exists() else "does not exist"
        raise InvalidJobDirectory(f"The job directory '{directory}' {what}")


def _ignored(directory: Path) -> _Ignored | None:
    try:
        lines = (directory / IGNORE_FILE).read_text("utf-8").splitlines()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidJobDirectory(
            f"'{directory / IGNORE_FILE}' cannot be read: {error}"
        ) from error
    import pathspec

    return pathspec.GitIgnoreSpec.from_lines(lines)


def _kind(mode: int) -> str:
    if stat.S_ISSOCK(mode):
        return "a socket"
    return "a named pipe" if stat.S_ISFIFO(mode) else "a device"


def find_command(directory: Path, script: str | None) -> Command:
    """The command for `script`: a file of the directory, with or without arguments, or
    a full command for the server's shell.

    Raises InvalidJobDirectory if the file is missing, is not a file, or has the line
    endings of Windows, with which no server could start it.
    """
    _check_directory(directory)
    text = DEFAULT_SCRIPT if script is None else script
    if not text.strip() or "\0" in text:
        raise InvalidJobDirectory(f"{text!r} is not a script, nor a command")
    if _lies_in(directory, text):
        _check_script(directory / text)
        name = text.removeprefix("./")
        run = f"tej_run {shlex.quote('./' + name)}"
        return Command(run, _file_sent(directory, text), name)
    word = _first_word(text)
    if _lies_in(directory, word) and not (directory / word).is_dir():
        _check_script(directory / word)
        name = word.removeprefix("./")
        rest = text.strip()[len(word) :]
        # Alone, it becomes the job itself, so that its end is known to the signal.
        run = "" if _CONTROL & set(rest) else "tej_run "
        script_file = _file_sent(directory, word)
        return Command(f"{run}./{name}{rest}", script_file, name + rest)
    if _looks_like_file(text, word):
        way_out = "" if script is not None else ", or give --script"
        raise InvalidJobDirectory(
            f"There is no script '{word}' in '{directory}': add it{way_out}"
        )
    return Command(text, None, text.strip())


def check_sent(command: Command, entries: Iterable[Entry], directory: Path) -> None:
    """Raise InvalidJobDirectory if the script is not among what is sent."""
    script = command.script
    if script is not None and all(entry.path != script for entry in entries):
        raise InvalidJobDirectory(
            f"The script '{script}' in '{directory}' is left out by {IGNORE_FILE}"
        )


def _lies_in(directory: Path, name: str) -> bool:
    if not name or name.startswith("/") or ".." in name.split("/"):
        return False
    try:
        return os.path.lexists(directory / name)
    except (OSError, ValueError):
        return False


def _file_sent(directory: Path, name: str) -> str | None:
    """The file of the job that a script is in the end, links followed; None if one of
    them leads to an absolute path, which is the server's to know."""
    real = (directory / name).resolve()
    if real.is_relative_to(directory.resolve()):
        return real.relative_to(directory.resolve()).as_posix()
    parts = Path(name).parts
    for count in range(1, len(parts) + 1):
        path = directory.joinpath(*parts[:count])
        if path.is_symlink() and path.readlink().is_absolute():
            return None
    raise InvalidJobDirectory(
        f"The script '{directory / name}' is a link to '{real}', which is outside of "
        "the directory and would not be sent"
    )


def _first_word(text: str) -> str:
    """The word in the place of the command, if it stands there as it is."""
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
        what = "is not a file that can be run"
        if script.is_dir():
            what = "is a directory"
        elif not script.exists():
            what = f"is a link to '{script.readlink()}', which does not exist"
        raise InvalidJobDirectory(f"The script '{script}' {what}")
    try:
        with script.open("rb") as file:
            start = file.read(8192)
    except OSError as error:
        raise InvalidJobDirectory(
            f"The script '{script}' cannot be read: {error}"
        ) from error
    if b"\0" not in start and b"\r\n" in start:
        raise InvalidJobDirectory(
            f"The script '{script}' has Windows line endings (CRLF), with which the "
            "server cannot run it: save it with LF"
        )
