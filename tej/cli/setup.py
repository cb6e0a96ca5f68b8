"""`tej setup`: create a queue on a server."""

from __future__ import annotations

import click

from tej.cli import output
from tej.cli.command import queue_command
from tej.cli.common_options import runtime, warn_of_expansion
from tej.queue.default_queue import DEFAULT_TEJ_DIR
from tej.queue.remote import RemoteQueue


@queue_command("setup", example="tej setup lab --queue /scratch/q --make-link '~/.tej'")
@runtime
@click.option(
    "--make-link",
    "links",
    multiple=True,
    metavar="PATH",
    help="Create a link to the queue at PATH; may be repeated.",
)
@click.option(
    "--make-default-link",
    is_flag=True,
    help=f"Create a link at {DEFAULT_TEJ_DIR}, the default of --queue.",
)
@click.option("--only-links", is_flag=True, help="Create the links, but no queue.")
@click.option(
    "--force",
    count=True,
    help="Replace a link or an empty queue; if given twice, also a queue whose jobs "
    "have all ended.",
)
@click.option(
    "--max-running",
    type=click.IntRange(0),
    metavar="N",
    help="Limit the number of running jobs; see `tej limit`.",
)
def command(
    queue: RemoteQueue,
    links: tuple[str, ...],
    make_default_link: bool,
    only_links: bool,
    force: int,
    max_running: int | None,
    as_json: bool,
) -> None:
    """Create a queue on a server (optional: the first submission also creates it).

    Use `tej setup` for a queue on another disk, with another runtime, or with a link.
    """
    wanted = [*links, *([DEFAULT_TEJ_DIR] if make_default_link else [])]
    for link in links:
        warn_of_expansion("--make-link", link, queue.destination_string)
    path = queue.setup(wanted, force, only_links, max_running=max_running)
    if as_json:
        output.print_json({"queue": str(path), "links": wanted})
