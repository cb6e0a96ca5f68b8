"""`tej connect`: log in once, and share the connection between commands."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from typing import TYPE_CHECKING

import click

from tej.cli import output
from tej.cli.command import command as make_command
from tej.cli.command import host_key_option, json_option
from tej.cli.profile import find_profile, profile_option, settings_on_command_line
from tej.destination import Destination

if TYPE_CHECKING:
    from tej.transport.openssh_login import Login

PERSIST = "8h"
"""Default of `--persist`; other commands have DEFAULT_PERSIST."""


@make_command("connect", example="tej connect lab --persist 8h")
@click.argument("words", nargs=-1, metavar="[DESTINATION]")
@profile_option
@click.option(
    "--persist",
    metavar="TIME",
    envvar="TEJ_PERSIST",
    show_envvar=True,
    help="Close the connection when unused for this time: 60, 10m, 8h.  "
    f"[default: {PERSIST}]",
)
@host_key_option
@json_option
def command(
    words: tuple[str, ...],
    profile_name: str | None,
    persist: str | None,
    accept_new_host_key: bool,
    as_json: bool,
) -> None:
    """Log in to a server once, for all commands that follow.

    `ssh` prompts for passwords and codes at the terminal.  All tej commands of this
    user then share the connection.  The connection closes when it has been unused for
    the given time, or when you run `tej disconnect`.
    """
    refuse_on_windows()
    from tej.transport.openssh_login import log_in
    from tej.transport.persist import check_persist
    from tej.transport.settings import Settings

    given = settings_on_command_line(click.get_current_context())
    profile, _ = find_profile(words, name=profile_name, given=given)
    destination = Destination.parse(profile.get("destination"))
    if destination.is_local:
        raise click.UsageError(
            "'local:' is this machine: there is nothing to connect to"
        )
    try:
        time = check_persist(profile.get("persist") or PERSIST)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--persist") from error
    settings = Settings(
        terminal=sys.stdin.isatty() and os.name == "posix",
        accept_new_host_key=accept_new_host_key,
        persist=time,
    )
    login = log_in(destination, settings)
    if as_json:
        until = login.until
        output.print_json(
            {
                "server": login.where,
                "new": login.new,
                "socket": str(login.socket),
                "persist": login.persist if login.new or not login.own else None,
                "until": until.isoformat(timespec="seconds") if until else None,
            }
        )
    else:
        print_login(login)


def print_login(login: Login) -> None:
    """Print whether the connection is new, and when it closes."""
    state = "Connected" if login.new else "Already connected"
    output.say(f"{state} to {login.where}", err=True)
    if not login.own:
        output.say(
            "Your own ssh configuration keeps this connection open (ControlMaster)",
            err=True,
        )
    if login.until is not None:
        limit = login.persist + (" s" if login.persist.isdigit() else "")
        way_out = "; `tej disconnect` closes the connection" if login.own else ""
        output.say(
            f"If the connection is not used, it closes at {clock_time(login.until)} "
            f"(after {limit}). Each use extends this time{way_out}.",
            err=True,
        )


def clock_time(when: datetime) -> str:
    """Return the time of day, such as 14:30, with the date unless the date is today."""
    is_today = when.date() == datetime.now().astimezone().date()
    return when.strftime("%H:%M" if is_today else "%Y-%m-%d %H:%M")


def refuse_on_windows() -> None:
    """Raise UsageError on Windows, where ssh cannot share a connection."""
    if sys.platform == "win32":
        raise click.UsageError(
            "On Windows, commands cannot share a connection: each command logs in"
        )
