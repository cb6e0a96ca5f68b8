"""Ignored files: files that match `.tejignore`, and tool files, are not sent.

Files of version control, byte code, caches of tools and virtual environments change
although the work of the job stays the same: `git status`, for example, rewrites
`.git/index`.  Tool files are therefore not part of the upload and the signature,
unless `.tejignore` includes them (`!.git`) or `everything` is set for the job.
Incomplete downloads of tej are not sent either.
"""

from __future__ import annotations

import enum
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from tej.errors import InvalidJobDirectory

IGNORE_FILE = ".tejignore"

TOOL_NAMES = frozenset(
    {
        ".git",
        ".hg",
        ".svn",
        "__pycache__",
        ".ipynb_checkpoints",
        ".mypy_cache",
        ".pytest_cache",
        ".ruff_cache",
        ".DS_Store",
    }
)
"""Names of files and folders of tools; tej ignores them at any depth."""

PROJECT_FILE = "tej.toml"
"""Name of the configuration file of a project.

The file is not sent, because a change of a profile would otherwise change the
signature."""

PARTIAL_DOWNLOAD = ".tej-{}.part"
"""Name of an incomplete file of a download, with 16 hexadecimal digits for `{}`.

The file remains if the client is killed.  It is not sent, because it would change the
signature of a job in the directory of the download."""

_PARTIAL_DOWNLOAD = re.compile(
    PARTIAL_DOWNLOAD.replace(".", r"\.").format("[0-9a-f]{16}")
)

VIRTUAL_ENVIRONMENT = "pyvenv.cfg"
"""Name of the file that marks a folder as a virtual environment of Python."""


class _Result(Protocol):
    @property
    def include(self) -> bool | None: ...


class _Patterns(Protocol):
    def check_file(self, file: str) -> _Result: ...


class LeftOut(enum.Enum):
    """Reason why a file is not sent."""

    BY_USER = "matches .tejignore or `ignore`"
    BY_DEFAULT = "tool file"
    CONFIGURATION = "configuration of tej"
    PARTIAL = "incomplete download"


class IgnoreRules:
    """Rules that decide which files of one job directory are sent.

    `ignore` contains further patterns, which are applied after `.tejignore`.  Raises
    InvalidJobDirectory if `.tejignore` cannot be read or has an invalid line.
    """

    def __init__(
        self, directory: Path, *, everything: bool = False, ignore: Sequence[str] = ()
    ) -> None:
        self._patterns = _read_patterns(directory / IGNORE_FILE, ignore)
        self._everything = everything

    def check(self, path: str, source: Path, *, is_directory: bool) -> LeftOut | None:
        """Return the reason why a file is not sent, or None if the file is sent."""
        if self._patterns is not None:
            pattern_path = path + "/" if is_directory else path
            ignored = self._patterns.check_file(pattern_path).include
            if ignored is not None:
                return LeftOut.BY_USER if ignored else None
        name = path.rpartition("/")[2]
        if name == PROJECT_FILE:
            return LeftOut.CONFIGURATION
        if _PARTIAL_DOWNLOAD.fullmatch(name):
            return LeftOut.PARTIAL
        if self._everything:
            return None
        if name in TOOL_NAMES:
            return LeftOut.BY_DEFAULT
        if is_directory and os.path.lexists(source / VIRTUAL_ENVIRONMENT):
            return LeftOut.BY_DEFAULT
        return None


def _read_patterns(file: Path, more: Sequence[str]) -> _Patterns | None:
    """Return the patterns in `.tejignore` and `more`, or None if there are none."""
    try:
        lines = file.read_text("utf-8-sig").splitlines()
    except FileNotFoundError:
        if not more:
            return None
        lines = []
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidJobDirectory(f"'{file}' cannot be read: {error}") from error
    import pathspec

    for number, line in enumerate(lines, 1):
        try:
            pathspec.GitIgnoreSpec.from_lines([line])
        except ValueError as error:
            raise InvalidJobDirectory(
                f"Line {number} of '{file}' is not a valid pattern: {line}"
            ) from error
    try:
        return pathspec.GitIgnoreSpec.from_lines([*lines, *more])
    except ValueError as error:
        raise InvalidJobDirectory(
            f"One of the patterns in `ignore` is not valid: {', '.join(more)}"
        ) from error


def tree_size(path: Path) -> int:
    """Return the total size in bytes of all files below a path.

    Directories that cannot be read are skipped.
    """
    total, pending = 0, [os.fspath(path)]
    while pending:
        try:
            with os.scandir(pending.pop()) as found:
                for item in found:
                    if item.is_dir(follow_symlinks=False):
                        pending.append(item.path)
                    else:
                        total += item.stat(follow_symlinks=False).st_size
        except NotADirectoryError:
            total += path.lstat().st_size
        except OSError:
            continue
    return total
