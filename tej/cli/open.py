"""`tej open`: print the directory of a job."""

from __future__ import annotations

import click

from tej.cli import output
from tej.cli.command import queue_command
from tej.cli.one_job_argument import one_job, refuse
from tej.destination import Destination
from tej.queue.remote import RemoteQueue


@queue_command(
    "open",
    "[files...]",
    usage="[JOB]",
    example='scp -r "$(tej open --scp train-1)/out" .',
)
@one_job
@click.option(
    "--scp", "with_host", is_flag=True, help="Print an argument for scp or rsync."
)
def command(
    queue: RemoteQueue, job_id: str, files: list[str], with_host: bool, as_json: bool
) -> None:
    """Print the directory of a job on the server, for cd, scp or rsync.

    On a server: cd "$(tej open local: JOB)"
    """
    refuse(files)
    directory = str(queue.status(job_id).directory)
    there = argument_of_scp(queue.destination_string, directory)
    if as_json:
        output.print_json({"id": job_id, "directory": directory, "scp": there})
    else:
        output.say_line(there if with_host else directory)


def argument_of_scp(destination: str, directory: str) -> str:
    """Return a directory on the server as an argument of scp or rsync.

    The argument has no port, because rsync accepts none there.
    """
    parsed = Destination.parse(destination)
    if parsed.is_local:
        return directory
    host = f"[{parsed.host}]" if ":" in parsed.host else parsed.host
    user = "" if parsed.user is None else f"{parsed.user}@"
    return f"{user}{host}:{directory}"
