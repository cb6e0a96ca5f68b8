"""The commands that bring something to the server: setup, submit; and signature."""

from __future__ import annotations

from pathlib import Path

import click

from tej.cli import output
from tej.cli.options import (
    environment,
    job_labels,
    on_queue,
    parse_pairs,
    resources,
    runtime,
    script,
)
from tej.errors import Error
from tej.job.directory import find_command, scan
from tej.job.resources import Resources
from tej.job.signature import compute, make_id
from tej.queue import DEFAULT_TEJ_DIR, RemoteQueue


@click.command()
@on_queue()
@runtime
@click.option(
    "--make-link", "links", multiple=True, metavar="PATH", help="Make a link there."
)
@click.option(
    "--make-default-link",
    is_flag=True,
    help=f"Make a link at {DEFAULT_TEJ_DIR}, where the other commands look.",
)
@click.option("--only-links", is_flag=True, help="Make the links, and no queue.")
@click.option(
    "--force",
    count=True,
    help="Replace a link or an empty queue; twice: also one with jobs, if all ended.",
)
@click.option(
    "--max-running",
    type=click.IntRange(0),
    metavar="N",
    help="Let N jobs run at once; the others wait. See also `limit`.",
)
def setup(
    queue: RemoteQueue,
    links: tuple[str, ...],
    make_default_link: bool,
    only_links: bool,
    force: int,
    max_running: int | None,
    as_json: bool,
) -> None:
    """Set tej up on a server (optional: the first submission does)."""
    wanted = [*links, *([DEFAULT_TEJ_DIR] if make_default_link else [])]
    path = queue.setup(wanted, force, only_links, max_running=max_running)
    if as_json:
        output.print_json({"queue": str(path), "links": wanted})


@click.command()
@on_queue("directory")
@runtime
@click.option("--id", "id_", metavar="ID", help="Identifier for the new job.")
@script
@environment
@resources
@job_labels
@click.option(
    "--reuse",
    is_flag=True,
    help="If there is a job for the same work already, that is the answer.",
)
@click.option(
    "--retry", is_flag=True, help="As --reuse, but start it again if it had failed."
)
def submit(
    queue: RemoteQueue,
    directory: str,
    id_: str | None,
    script: str | None,
    variables: tuple[str, ...],
    labels: tuple[str, ...],
    resources: Resources,
    login: bool,
    reuse: bool,
    retry: bool,
    as_json: bool,
) -> None:
    """Send a directory to a server and start it as a job."""
    named = parse_pairs(labels, "label")
    exported = parse_pairs(variables, "variable")
    with output.TransferBar("Uploading", size_of(directory)) as bar:
        if reuse or retry:
            job = queue.ensure(
                directory,
                script=script,
                job_id=id_,
                retry=retry,
                labels=named,
                environment=exported,
                resources=resources,
                login=login,
                progress=bar,
            )
            new_id, is_new = job.id, job.is_new
        else:
            new_id = queue.submit(
                id_,
                directory,
                script,
                labels=named,
                environment=exported,
                resources=resources,
                login=login,
                progress=bar,
            )
            is_new = True
    if as_json:
        output.print_json({"id": new_id, "is_new": is_new})
    else:
        click.echo("Job submitted as:" if is_new else "Job found as:", err=True)
        click.echo(new_id)


def size_of(directory: str) -> int | None:
    """Bytes that a bar can count to; what is wrong is said by the submission."""
    try:
        return sum(entry.stat.st_size for entry in scan(Path(directory)))
    except (Error, OSError):
        return None


@click.command()
@click.argument("directory")
@script
@environment
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def signature(
    directory: str, script: str | None, variables: tuple[str, ...], as_json: bool
) -> None:
    """Print the job id that a directory and its script always have.

    No server is asked.  `submit --reuse` and `run` use this id.
    """
    exported = parse_pairs(variables, "variable")
    folder = Path(directory)
    digest = compute(find_command(folder, script), scan(folder), exported)
    new_id = make_id(digest)
    if as_json:
        output.print_json({"signature": digest, "id": new_id})
    else:
        click.echo(new_id)


ALL = [setup, submit, signature]
