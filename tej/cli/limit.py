"""`tej limit`: limit the number of running jobs."""

from __future__ import annotations

import click

from tej.cli import output
from tej.cli.command import queue_command
from tej.queue.remote import RemoteQueue


@queue_command("limit", "n", example="tej limit lab 4")
def command(queue: RemoteQueue, n: str, as_json: bool) -> None:
    """Limit the number of running jobs of a queue; 0 removes the limit.

    Jobs above the limit are queued, and start in the order of their submission.
    """
    if not n.isdecimal():
        raise click.UsageError(f"'{n}' is not a number of jobs")
    queue.limit(int(n))
    if as_json:
        output.print_json({"queue": str(queue.queue), "max_running": int(n)})
