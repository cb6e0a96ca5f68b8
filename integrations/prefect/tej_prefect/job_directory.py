"""Directory of a job: the directory to upload, built from a script, files or templates.

Templates are files whose names end in `.j2`, and strings with `{{ name }}`.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

import tej

SCRIPT = "start.sh"
TEMPLATE_SUFFIX = ".j2"

_jinja = ImmutableSandboxedEnvironment(
    undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False
)


@contextlib.contextmanager
def job_directory(
    directory: Path | None,
    script: str | None,
    files: Sequence[str],
    parameters: Mapping[str, object] | None,
) -> Iterator[Path]:
    """Yield the directory to upload.

    If no file has to be selected, rendered or written, yield `directory` itself.  In
    all other cases, yield a temporary directory, which is removed when the context
    ends.

    `files` are patterns relative to `directory`, or to the current directory if
    `directory` is None; only matching files are copied.  If `parameters` is not None,
    templates and the script are rendered.  Raises tej.InvalidJobDirectory if a pattern
    matches no file or a template cannot be rendered.
    """
    source = (directory or Path()).expanduser()
    if script is None and not files and parameters is None:
        yield source
        return
    if directory is not None and not source.is_dir():
        raise tej.InvalidJobDirectory(f"The directory '{source}' does not exist")
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
            _render_directory(folder, parameters)
        yield folder


def render(text: str, parameters: Mapping[str, object], where: str) -> str:
    """Return the Jinja template `text` with its parameters filled in.

    Raises tej.InvalidJobDirectory, with `where` in the message, if a parameter is
    missing or the template is invalid.
    """
    try:
        return _jinja.from_string(text).render(parameters)
    except (TemplateError, ArithmeticError, TypeError, ValueError) as error:
        raise tej.InvalidJobDirectory(
            f"{where} cannot be rendered: {error} (parameters: "
            f"{', '.join(sorted(parameters)) or 'none'})"
        ) from error


def _render_directory(folder: Path, parameters: Mapping[str, object]) -> None:
    """Replace each file `NAME.j2` by the rendered file `NAME`.

    `NAME` has the same permissions as `NAME.j2`.
    """
    for template in sorted(folder.rglob(f"*{TEMPLATE_SUFFIX}")):
        if template.is_symlink() or not template.is_file():
            continue
        target = template.with_name(template.name.removesuffix(TEMPLATE_SUFFIX))
        where = f"'{template.relative_to(folder)}'"
        if target.exists():
            raise tej.InvalidJobDirectory(
                f"{where} cannot be rendered: '{target.name}' exists already"
            )
        # With surrogateescape, bytes that are not UTF-8 are copied unchanged.
        text = template.read_bytes().decode("utf-8", "surrogateescape")
        rendered = render(text, parameters, where)
        target.write_bytes(rendered.encode("utf-8", "surrogateescape"))
        shutil.copymode(template, target)
        template.unlink()


def _copy(pattern: str, source: Path, folder: Path) -> None:
    if Path(pattern).is_absolute() or ".." in Path(pattern).parts:
        raise tej.InvalidJobDirectory(
            f"The pattern '{pattern}' leads out of '{source}': use a relative pattern "
            "without '..'"
        )
    found = sorted(source.glob(pattern))
    if not found:
        raise tej.InvalidJobDirectory(f"'{pattern}' matches no file in '{source}'")
    for path in found:
        target = folder / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir() and not path.is_symlink():
            shutil.copytree(path, target, symlinks=True, dirs_exist_ok=True)
        else:
            shutil.copy2(path, target, follow_symlinks=False)


def _write_script(path: Path, script: str) -> None:
    if path.exists():
        raise tej.InvalidJobDirectory(
            f"The directory contains {SCRIPT} already: omit `script`"
        )
    text = script if script.startswith("#!") else f"#!/bin/sh\n{script}"
    path.write_text(text if text.endswith("\n") else f"{text}\n", encoding="utf-8")
    path.chmod(0o755)
