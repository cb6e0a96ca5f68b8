"""Hooks of mkdocs: pages made from other files, and links that leave `docs`."""

from __future__ import annotations

import re
import sys
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

CHECKOUT = Path(__file__).parents[1]
COPIED = {"README.md": "index.md", "CHANGELOG.md": "changes.md"}
"""Files outside of `docs` that are pages of the site."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the README, the changelog, the help, and the names of the Python library."""
    sys.path.insert(0, str(CHECKOUT))
    pages = {page: _read(name) for name, page in COPIED.items()}
    pages["reference/help.md"] = _help()
    pages["reference/python.md"] = _python()
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(
    markdown: str, page: Page, config: MkDocsConfig, files: Files
) -> str:
    """Correct links to files outside of `docs`, which are not on the site.

    A corrected link leads to the page that was made from the file, or to the file in
    the repository.
    """
    folder = CHECKOUT / "docs" / PurePosixPath(page.file.src_uri).parent

    def replace(link: re.Match[str]) -> str:
        path = (folder / link[1]).resolve()
        if path.is_relative_to(CHECKOUT / "docs"):
            return link[0]
        outside = path.relative_to(CHECKOUT).as_posix()
        if outside in COPIED:
            return f"]({'../' * page.file.src_uri.count('/')}{COPIED[outside]}{link[2]}"
        return f"]({config.repo_url}/blob/master/{outside}{link[2]}"

    return re.sub(r"\]\(((?:\.\./)+[^)#]+)((?:#[^)]*)?\))", replace, markdown)


def _read(name: str) -> str:
    """Return a file of the checkout, with its links relative to `docs`."""
    text = (CHECKOUT / name).read_text(encoding="utf-8")
    text = re.sub(r"\]\(docs/", "](", text)
    return re.sub(r"\]\((?=(?:examples/|[A-Z]+(?:\.md)?\)))", "](../", text)


def _help() -> str:
    """Return a page with the help of each command."""
    import click

    from tej.cli.main import tej
    from tej.command_list import COMMANDS, help_page

    parts = ["# Help of each command\n", f"```text\n{help_page(78)}\n```\n"]
    for group in COMMANDS.values():
        for name in group:
            command = tej.get_command(click.Context(tej), name)
            assert command is not None
            context = click.Context(
                command, info_name=f"tej {name}", max_content_width=80
            )
            parts.append(
                f"## tej {name}\n\n```text\n{command.get_help(context)}\n```\n"
            )
    return "\n".join(parts)


def _python() -> str:
    """Return a page with each public name of the library."""
    import tej

    about = "All names are imported from `tej`; each is imported on first use."
    homes = {name: module for module, names in tej._HOMES.items() for name in names}
    names = [name for name in tej.__all__ if name != "__version__"]
    entries = [f"::: {homes.get(name, 'tej.errors')}.{name}" for name in names]
    return "\n\n".join(["# Python library", about, *entries])
