"""`tej submit`: upload a directory and start it as a job."""

from __future__ import annotations

import click

from tej.cli import output
from tej.cli.command import queue_command
from tej.cli.common_options import runtime
from tej.cli.dry_run import dry_run_option, print_plan
from tej.cli.job_options import job_options, submission_arguments
from tej.cli.progress_bar import TransferBar, size_of
from tej.job.spec import JobSpec
from tej.queue.remote import RemoteQueue


@queue_command(
    "submit",
    "[directory]",
    example="tej submit lab simulation/ --id train-1",
    takes_command=True,
)
@click.option(
    "--id", "id_", metavar="ID", help="Id of the new job.  [default: a unique one]"
)
@runtime
@click.option(
    "--reuse", is_flag=True, help="Return the existing job for the same work, if any."
)
@click.option(
    "--retry", is_flag=True, help="Like --reuse, but restart that job if it failed."
)
@dry_run_option
@job_options
def command(
    queue: RemoteQueue,
    spec: JobSpec,
    reuse: bool,
    retry: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Upload a directory and start it as a job; print the job's id.

    The default directory is the current one.  Only the id is printed to stdout, so that
    id=$(tej submit ...) stores the id in a variable.
    """
    if dry_run:
        print_plan(queue, spec, is_signed=reuse or retry, as_json=as_json)
        return
    arguments = submission_arguments(spec)
    with TransferBar("Uploading", size_of(spec)) as bar:
        if reuse or retry:
            job = queue.ensure(
                spec.directory,
                job_id=spec.job_id,
                retry=retry,
                progress=bar,
                **arguments,
            )
            job_id, is_new = job.id, job.is_new
        else:
            job_id = queue.submit(
                spec.job_id, spec.directory, progress=bar, **arguments
            )
            is_new = True
    print_submitted(job_id, is_new, as_json=as_json)


def print_submitted(job_id: str, is_new: bool, *, as_json: bool) -> None:
    """Print the id of a job that was submitted or found."""
    if as_json:
        output.print_json({"id": job_id, "is_new": is_new})
    else:
        output.say("Job submitted as:" if is_new else "Job found as:", err=True)
        output.say(job_id)
