"""Render `{{name}}` in scripts and files, and make the directory of the job."""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import stat
import tempfile
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tej import (
    CannotQuote,
    Entry,
    InvalidJobDirectory,
    RawText,
    fill_shell_fields,
    scan,
)

_VARIABLE = re.compile(r"\{\{ *([A-Za-z_][A-Za-z0-9_]*) *(\| *raw *)?\}\}")
_SHELL = re.compile(r"#!\s*(\S*/env\s+(-S\s+)?)?\S*sh\b")


def render(text: str, variables: Mapping[str, str], where: str) -> str:
    """Return the text with each `{{name}}` replaced by the value of the variable.

    Raises InvalidJobDirectory, with `where` in the message, if a variable is unknown or
    if `text` is not a string.
    """
    _check_type(text, where)
    return _VARIABLE.sub(lambda match: _value(match, variables, where), text)


def render_shell(text: str, variables: Mapping[str, str], where: str) -> str:
    """Return the shell script with each `{{name}}` replaced by the quoted value.

    The value of `{{name | raw}}` is not quoted.  If the first line of the script is
    `#!` with an interpreter that is not a shell, no value is quoted.  Raises
    InvalidJobDirectory in the same cases as `render`, and if a value cannot be quoted.
    """
    _check_type(text, where)
    if text.startswith("#!") and not _SHELL.match(text):
        return render(text, variables, where)

    def value(match: re.Match[str]) -> str:
        found = _value(match, variables, where)
        return RawText(found) if match[2] else found

    try:
        return fill_shell_fields(text, _VARIABLE, value)
    except CannotQuote as error:
        raise InvalidJobDirectory(
            f"{where}: {error}; write `| raw` after the name to insert the value "
            "unquoted"
        ) from None


def _check_type(text: object, where: str) -> None:
    if not isinstance(text, str):
        raise InvalidJobDirectory(
            f"{where} must be text, not a value of type {type(text).__name__}"
        )


def _value(match: re.Match[str], variables: Mapping[str, str], where: str) -> str:
    try:
        return variables[match[1]]
    except KeyError:
        known = ", ".join(sorted(variables)) or "none"
        raise InvalidJobDirectory(
            f"{where}: {match[0]} is not a variable of the task (known: {known}). The "
            "variables are the significant, public parameters of the task, and the "
            "variables that its method variables() adds"
        ) from None


@dataclass(frozen=True)
class Recipe:
    """The content of a job: directory, templates, script, command and environment."""

    directory: Path | None
    rendered: Sequence[str]
    """Patterns of the files in `directory` that are rendered."""
    inline: str | None
    """The template of the script `start.sh`; None if there is no such script."""
    variables: Mapping[str, str]
    command: str | None
    environment: Mapping[str, str]

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """Yield the job's directory.

        If nothing must be rendered, yield `directory` itself.  If something must be
        rendered, yield a temporary copy, which is removed when the context ends.
        Raises InvalidJobDirectory if files are missing or cannot be rendered.
        """
        if self.directory is None and self.inline is None:
            raise InvalidJobDirectory("The task has neither `directory` nor `inline`")
        if self.directory is not None and not self.rendered and self.inline is None:
            yield self.directory
            return
        with tempfile.TemporaryDirectory(prefix="tej-luigi-") as temporary:
            folder = Path(temporary)
            if self.directory is not None:
                self._copy(self.directory, folder)
            if self.inline is not None:
                self._write_script(self.inline, folder / "start.sh")
            yield folder

    def _copy(self, directory: Path, folder: Path) -> None:
        unused = set(self.rendered)
        for entry in scan(directory):
            target = folder / entry.path
            if entry.is_directory:
                target.mkdir()
            elif entry.is_link:
                target.symlink_to(entry.link_target)
            elif patterns := self._matching(entry.path):
                unused -= patterns
                self._render(entry, target)
            else:
                _link(entry.source, target)
        if unused:
            raise InvalidJobDirectory(
                f"No file in '{directory}' matches '{min(unused)}', a pattern in the "
                "task's `rendered`"
            )

    def _matching(self, path: str) -> set[str]:
        return {one for one in self.rendered if fnmatch.fnmatchcase(path, one)}

    def _render(self, entry: Entry, target: Path) -> None:
        try:
            # read_text() is not used because it would change line ends.
            text = entry.source.read_bytes().decode()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidJobDirectory(
                f"Cannot render '{entry.source}': {error}"
            ) from error
        rendered = render(text, self.variables, f"'{entry.source}'")
        target.write_bytes(rendered.encode())
        target.chmod(stat.S_IMODE(entry.stat.st_mode))

    def _write_script(self, inline: str, target: Path) -> None:
        text = textwrap.dedent(inline).lstrip("\n")
        if not text.startswith("#!"):
            text = f"#!/bin/sh\n{text}"
        if not text.endswith("\n"):
            text += "\n"
        target.unlink(missing_ok=True)
        target.write_bytes(render_shell(text, self.variables, "`inline`").encode())
        target.chmod(0o755)

    def file_states(self) -> list[tuple[object, ...]] | None:
        """Return values that change whenever the content of `directory` changes.

        Return None if a file was modified so recently that its modification time might
        stay the same when the file is modified again.
        """
        states: list[tuple[object, ...]] = []
        for entry in [] if self.directory is None else scan(self.directory):
            found = entry.stat
            if entry.is_file and found.st_mtime_ns > time.time_ns() - RECENT_NS:
                return None
            content = (found.st_size, found.st_mtime_ns, found.st_ino)
            states.append((entry.path, found.st_mode, entry.link_target, *content))
        return states


RECENT_NS = 2_000_000_000
"""Number of nanoseconds during which a modification of a file counts as recent.

RECENT_NS is longer than the resolution of modification times on common file systems.
"""


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        # The file is copied if it is on another file system than the target, or if hard
        # links are not supported.
        shutil.copy2(source, target)
