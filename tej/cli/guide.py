"""`tej guide`: print the page for programs and assistants, `docs/agents.md`."""

from __future__ import annotations

from pathlib import Path

import click

from tej.cli.command import command as make_command

PAGES = (
    Path(__file__).parent / "agents.md",
    Path(__file__).parents[2] / "docs" / "agents.md",
)
"""Paths of the page in an installed tej and in a checkout.

`force-include` in pyproject.toml copies the page into the wheel."""


@make_command("guide", example="tej guide")
def command() -> None:
    """Print a guide for programs and assistants that use tej.

    The guide has the rules, the JSON keys, the exit statuses, and the commands that are
    safe to repeat.
    """
    page = next(path for path in PAGES if path.exists())
    click.echo(page.read_text(encoding="utf-8"), nl=False)
