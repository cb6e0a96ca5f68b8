"""`tej disconnect`: close the shared connection to a server."""

from __future__ import annotations

import click

from tej.cli import output
from tej.cli.command import command as make_command
from tej.cli.command import json_option
from tej.cli.connect import refuse_on_windows
from tej.cli.profile import find_profile, profile_option
from tej.destination import Destination


@make_command("disconnect", example="tej disconnect lab")
@click.argument("words", nargs=-1, metavar="[DESTINATION]")
@profile_option
@json_option
def command(words: tuple[str, ...], profile_name: str | None, as_json: bool) -> None:
    """Close the connection that `tej connect` or another command opened to a server.

    Commands that are using the connection connect again.  Jobs are not affected.
    """
    refuse_on_windows()
    from tej.transport.openssh_login import log_out, user_master

    profile, _ = find_profile(words, name=profile_name)
    destination = Destination.parse(profile.get("destination"))
    if destination.is_local:
        raise click.UsageError(
            "'local:' is this machine: there is no connection to close"
        )
    closed = log_out(destination)
    left = user_master(destination)
    if as_json:
        socket = None if left is None else str(left)
        output.print_json({"closed": closed, "own_master": socket})
        return
    if left is not None:
        output.say(
            "The connection of your own ssh configuration remains open, with the "
            f"socket {left}; to close it, run `ssh -O exit {destination.host}`",
            err=True,
        )
    elif closed:
        output.say(f"Closed the connection to {destination}", err=True)
    else:
        output.say(f"There is no connection to {destination}", err=True)
