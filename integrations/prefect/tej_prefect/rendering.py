"""Templates of jobs: files whose names end in `.j2`, and words with `{{ name }}`."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

import tej

SUFFIX = ".j2"

_jinja = ImmutableSandboxedEnvironment(
    undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False
)


def render(text: str, parameters: Mapping[str, object], where: str) -> str:
    """The text with its placeholders filled in, as Jinja does it.

    Raises tej.InvalidJobDirectory, which names `where`, for a name without a value.
    """
    try:
        return _jinja.from_string(text).render(parameters)
    except (TemplateError, ArithmeticError, TypeError, ValueError) as error:
        raise tej.InvalidJobDirectory(
            f"{where} cannot be filled in: {error}; there are: "
            f"{', '.join(sorted(parameters)) or 'no parameters'}"
        ) from error


def render_directory(folder: Path, parameters: Mapping[str, object]) -> None:
    """Replace each `NAME.j2` in it by `NAME`, filled in, with the same permissions."""
    for template in sorted(folder.rglob(f"*{SUFFIX}")):
        if template.is_symlink() or not template.is_file():
            continue
        target = template.with_name(template.name.removesuffix(SUFFIX))
        where = f"'{template.relative_to(folder)}'"
        if target.exists():
            raise tej.InvalidJobDirectory(f"{where}: there is a '{target.name}', too")
        text = template.read_bytes().decode("utf-8", "surrogateescape")
        filled = render(text, parameters, where)
        target.write_bytes(filled.encode("utf-8", "surrogateescape"))
        shutil.copymode(template, target)
        template.unlink()
