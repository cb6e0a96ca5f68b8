"""A task's work as a directory: rendered with its parameters, or made of a script."""

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

from tej.errors import InvalidJobDirectory
from tej.job.directory import DEFAULT_SCRIPT, Entry, scan

_VARIABLE = re.compile(r"\{\{ *([A-Za-z_][A-Za-z0-9_]*) *\}\}")


def render(text: str, variables: Mapping[str, str], what: str) -> str:
    """The text with each `{{name}}` replaced.

    Raises InvalidJobDirectory for a name that is not among the variables.
    """

    def value(match: re.Match[str]) -> str:
        try:
            return variables[match[1]]
        except KeyError:
            known = ", ".join(sorted(variables)) or "none"
            raise InvalidJobDirectory(
                f"{what} has {match[0]}, which is no variable of the task (known: "
                f"{known}): add it in the task's variables()"
            ) from None

    return _VARIABLE.sub(value, text)


@dataclass(frozen=True)
class Recipe:
    """What a job's directory is made of."""

    directory: Path | None
    rendered: Sequence[str]
    """Patterns of the files in it that are rendered."""
    inline: str | None
    """The text of `start.sh`."""
    variables: Mapping[str, str]

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """The job's directory.  One that was made is removed afterwards.

        Raises InvalidJobDirectory for what cannot be a job.
        """
        if self.directory is None and self.inline is None:
            raise InvalidJobDirectory("The task has neither `directory` nor `inline`")
        if self.directory is not None and not self.rendered and self.inline is None:
            yield self.directory
            return
        with tempfile.TemporaryDirectory(prefix="tej-luigi-") as made:
            folder = Path(made)
            if self.directory is not None:
                self._copy(self.directory, folder)
            if self.inline is not None:
                self._write_script(self.inline, folder / DEFAULT_SCRIPT)
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
                f"No file in '{directory}' is called '{min(unused)}': see the task's "
                "`rendered`"
            )

    def _matching(self, path: str) -> set[str]:
        return {one for one in self.rendered if fnmatch.fnmatchcase(path, one)}

    def _render(self, entry: Entry, target: Path) -> None:
        try:
            # As bytes: the ends of lines stay as they are.
            text = entry.source.read_bytes().decode()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidJobDirectory(
                f"'{entry.source}' cannot be rendered: {error}"
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
        target.write_bytes(render(text, self.variables, "`inline`").encode())
        target.chmod(0o755)

    def fingerprint(self) -> tuple[object, ...] | None:
        """As long as it stays so, what `folder` gives has the same contents.

        None if that cannot be told: something was changed just now.
        """
        entries: tuple[object, ...] = ()
        if self.directory is not None:
            found = list(scan(self.directory))
            if any(_is_recent(entry) for entry in found):
                return None
            entries = tuple(_seen(entry) for entry in found)
        variables = tuple(sorted(self.variables.items()))
        return (entries, tuple(self.rendered), self.inline, variables)


RECENT_NS = 2_000_000_000
"""File systems count time in steps: within one, a change cannot be seen."""


def _is_recent(entry: Entry) -> bool:
    if entry.is_directory:
        return False
    return abs(time.time_ns() - entry.stat.st_mtime_ns) < RECENT_NS


def _seen(entry: Entry) -> tuple[object, ...]:
    status = entry.stat
    if entry.is_directory:
        return (entry.path, status.st_mode)
    return (
        entry.path,
        status.st_mode,
        status.st_size,
        status.st_mtime_ns,
        status.st_ino,
    )


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        # Another file system, or one without hard links.
        shutil.copy2(source, target)
