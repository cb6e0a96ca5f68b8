"""Confirmation of a deletion: print what would be lost, and prompt the user."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping

import click

from tej.job.escaping import escape
from tej.job.formatting import format_size
from tej.job.status import JobStatus
from tej.queue.remote import RemoteQueue

yes_option = click.option(
    "-y", "--yes", is_flag=True, help="Do not prompt; required in scripts."
)


def count_jobs(number: int) -> str:
    """Return a number of jobs as text: "1 job", "2 jobs"."""
    return f"{number} {'job' if number == 1 else 'jobs'}"


def describe_loss(jobs: Collection[JobStatus], sizes: Mapping[str, int]) -> str:
    """Return a text with the number and the total size of jobs to be deleted.

    The text also contains the number of ended jobs that were not downloaded, and the
    number of jobs that have not ended.  These two are left out if they are 0.
    """
    details = [format_size(sum(sizes.get(job.job_id, 0) for job in jobs))]
    if lacking := sum(job.state.final and job.downloaded is None for job in jobs):
        details.append(f"{lacking} not yet downloaded")
    if alive := sum(not job.state.final for job in jobs):
        details.append(f"{alive} not ended")
    return f"{count_jobs(len(jobs))} ({', '.join(details)})"


def is_confirmed(queue: RemoteQueue, jobs: Collection[JobStatus]) -> bool:
    """Ask the user whether to delete the jobs; return True if the user agrees.

    Raises click.UsageError if standard input is not a terminal.
    """
    loss = (
        f"{describe_loss(jobs, queue.sizes())} of queue '{queue.queue}' on "
        f"'{queue.destination_string}'"
    )
    return confirm("delete", loss)


def confirm(action: str, loss: str, way_out: str = "") -> bool:
    """Ask the user to confirm a deletion; return True if the user agrees.

    `action` is the verb, such as "delete", and `loss` describes the jobs.  If standard
    input is not a terminal, raises click.UsageError with `way_out` at the end of its
    message.
    """
    if not sys.stdin.isatty():
        raise click.UsageError(
            escape(
                f"This would {action} {loss}, results included. To confirm, add "
                f"--yes{way_out}"
            )
        )
    question = f"{action.capitalize()} {loss}, results included?"
    return click.confirm(escape(question), err=True)
