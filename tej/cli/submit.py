"""`tej submit`: upload a directory and start it as a job."""

from __future__ import annotations

import click

from tej.cli import output
from tej.cli.command import queue_command
from tej.cli.options import (
    environment,
    everything,
    job_labels,
    parse_pairs,
    resources,
    runtime,
    script,
)
from tej.job.resources import Resources
from tej.queue.remote import RemoteQueue


@queue_command(
    "submit", "[directory]", example="tej submit lab simulation/ --id train-1"
)
@click.option(
    "--id", "id_", metavar="ID", help="Id of the new job.  [default: a unique one]"
)
@script
@runtime
@click.option(
    "--reuse", is_flag=True, help="Return the existing job for the same work, if any."
)
@click.option(
    "--retry", is_flag=True, help="Like --reuse, but restart that job if it failed."
)
@job_labels
@environment
@everything
@resources
def command(
    queue: RemoteQueue,
    directory: str,
    id_: str | None,
    script: str | None,
    variables: tuple[str, ...],
    labels: tuple[str, ...],
    resources: Resources,
    login: bool,
    everything: bool,
    reuse: bool,
    retry: bool,
    as_json: bool,
) -> None:
    """Upload a directory and start it as a job; print the job's id.

    Only the id goes to stdout, so that id=$(tej submit ...) gets it.
    """
    named = parse_pairs(labels, "label")
    exported = parse_pairs(variables, "variable")
    with output.TransferBar(
        "Uploading", output.size_of(directory, everything=everything)
    ) as bar:
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
                everything=everything,
                progress=bar,
            )
            job_id, is_new = job.id, job.is_new
        else:
            is_new = True
            job_id = queue.submit(
                id_,
                directory,
                script,
                labels=named,
                environment=exported,
                resources=resources,
                login=login,
                everything=everything,
                progress=bar,
            )
    if as_json:
        output.print_json({"id": job_id, "is_new": is_new})
    else:
        output.say("Job submitted as:" if is_new else "Job found as:", err=True)
        output.say(job_id)
