"""A job's directory as it is to be sent, where it is not simply one that is there:
from an inline script, from some of a directory's files, or from a template.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import tej
from tej_prefect.rendering import render, render_directory

SCRIPT = "start.sh"


@contextlib.contextmanager
def staged(
    directory: Path | None,
    script: str | None,
    files: Sequence[str],
    parameters: Mapping[str, object] | None,
) -> Iterator[Path]:
    """The directory to be sent: the one given, or one made for this.

    With `files`, patterns below `directory` (or below the current one), only these are
    in it; with `parameters`, its templates and the script are filled in.  Raises
    tej.InvalidJobDirectory for a pattern that fits nothing, and for a template that
    cannot be filled in.
    """
    source = (directory or Path()).expanduser()
    if script is None and not files and parameters is None:
        yield source
        return
    if directory is not None and not source.is_dir():
        raise tej.InvalidJobDirectory(f"There is no directory '{source}'")
    with tempfile.TemporaryDirectory(prefix="tej-") as made:
        folder = Path(made) / "job"
        if directory is not None and not files:
            shutil.copytree(source, folder, symlinks=True)
        else:
            folder.mkdir()
            for pattern in files:
                _copy(pattern, source, folder)
        if script is not None:
            if parameters is not None:
                script = render(script, parameters, "The script")
            _write_script(folder / SCRIPT, script)
        if parameters is not None:
            render_directory(folder, parameters)
        yield folder


def _copy(pattern: str, source: Path, folder: Path) -> None:
    if Path(pattern).is_absolute() or ".." in Path(pattern).parts:
        raise tej.InvalidJobDirectory(f"'{pattern}' is not below '{source}'")
    found = sorted(source.glob(pattern))
    if not found:
        raise tej.InvalidJobDirectory(f"'{pattern}' fits no file in '{source}'")
    for path in found:
        target = folder / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir() and not path.is_symlink():
            shutil.copytree(path, target, symlinks=True, dirs_exist_ok=True)
        else:
            shutil.copy2(path, target, follow_symlinks=False)


def _write_script(path: Path, script: str) -> None:
    if path.exists():
        raise tej.InvalidJobDirectory(f"The directory has a {SCRIPT}: give no `script`")
    text = script if script.startswith("#!") else f"#!/bin/sh\n{script}"
    path.write_text(text if text.endswith("\n") else f"{text}\n", encoding="utf-8")
    path.chmod(0o755)
