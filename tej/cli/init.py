"""`tej init`: add a profile to a configuration file."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click

from tej.cli import output
from tej.cli.command import command as make_command
from tej.cli.command import json_option
from tej.cli.common_options import warn_of_expansion
from tej.cli.config import as_toml
from tej.destination import Destination
from tej.queue.default_queue import DEFAULT_TEJ_DIR


@make_command("init", example="tej init lab me@login.example.org --result 'out/*.csv'")
@click.argument("name", required=False)
@click.argument("destination", required=False)
@click.option(
    "--user", is_flag=True, help="Write ~/.config/tej/config.toml, not ./tej.toml."
)
@click.option(
    "--queue",
    "queue_path",
    metavar="PATH",
    help=f"Directory of the queue on the server.  [default: {DEFAULT_TEJ_DIR}]",
)
@click.option("--runtime", metavar="NAME|FOLDER", help="Runtime of a new queue.")
@click.option(
    "--persist", metavar="TIME", help="Close an unused connection after this time: 8h."
)
@click.option(
    "--result",
    "results",
    multiple=True,
    metavar="PATTERN",
    help="Files that `tej run` fetches; may be repeated.",
)
@click.option(
    "--ignore",
    "ignored",
    multiple=True,
    metavar="PATTERN",
    help="Files that are not sent, such as results; may be repeated.",
)
@json_option
def command(
    name: str | None,
    destination: str | None,
    user: bool,
    queue_path: str | None,
    runtime: str | None,
    persist: str | None,
    results: tuple[str, ...],
    ignored: tuple[str, ...],
    as_json: bool,
) -> None:
    """Add a profile to ./tej.toml, or to your own configuration file.

    At a terminal, prompts for the name and the destination if they are not given.  The
    first profile in a file becomes the default.
    """
    from tej import config

    path = config.user_file() if user else Path("tej.toml").absolute()
    ask_for_all = destination is None and sys.stdin.isatty()
    name = name or prompt("Name of the profile", "lab")
    destination = destination or prompt("Destination ([user@]host, or local:)")
    if ask_for_all:
        queue_path = queue_path or prompt("Directory of the queue", DEFAULT_TEJ_DIR)
        if not results:
            results = tuple(
                prompt("Results to fetch (patterns, separated by spaces)", "").split()
            )
    Destination.parse(destination)
    if queue_path is not None and not ask_for_all:
        warn_of_expansion("--queue", queue_path, destination)
    if queue_path == DEFAULT_TEJ_DIR:
        queue_path = None
    settings = {
        "destination": destination,
        "queue": queue_path,
        "runtime": runtime,
        "persist": persist,
        "results": results,
        "ignore": ignored,
    }
    lines = [f"{key} = {as_toml(value)}" for key, value in settings.items() if value]
    config.add_profile(path, name, "\n".join([f"[profile.{key_of(name)}]", *lines, ""]))
    if as_json:
        output.print_json({"file": str(path), "profile": name})
    else:
        output.say_line(f"Added profile '{name}' to {path}", err=True)


def key_of(name: str) -> str:
    """Return a name as a key of TOML, quoted if necessary."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else as_toml(name)


def prompt(question: str, default: str | None = None) -> str:
    """Prompt for a line; raise click.UsageError if stdin is not a terminal."""
    if not sys.stdin.isatty():
        raise click.UsageError("Give NAME and DESTINATION: stdin is not a terminal")
    return str(click.prompt(question, default, err=True))
