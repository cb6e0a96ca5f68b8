"""Class of command-line options whose help is printed in sections."""

from __future__ import annotations

from typing import Any

import click

SHARED = "Options of all commands"


class Option(click.Option):
    """A command-line option that stores the heading of its section in the help."""

    def __init__(
        self,
        *arguments: Any,  # noqa: ANN401 (the arguments of click.Option)
        section: str = SHARED,
        **settings: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(*arguments, **settings)
        self.section = section
