"""`tej status`: print the status of jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from tej.cli import output
from tej.cli.command import queue_command
from tej.cli.exit_status import of_job
from tej.cli.job_selection import SelectedJobs, job_selection

if TYPE_CHECKING:
    from tej.job.status import JobStatus
    from tej.queue.remote import RemoteQueue


@queue_command("status", "[jobs...]", example="tej status train-1", connects_early=True)
@job_selection(latest=True)
@click.option(
    "--attempts", is_flag=True, help="Include the archived attempts ID#1, ID#2, ..."
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["text", "0.6"]),
    metavar="NAME",
    default="text",
    show_default=True,
    help="Use 0.6 for the words of tej 0.6: running, finished 0, not found.",
)
def command(
    queue: RemoteQueue,
    jobs: SelectedJobs,
    attempts: bool,
    format_: str,
    as_json: bool,
) -> int:
    """Print the status of jobs; without a job, of the latest job of this project.

    The exit status is 0 if all jobs exist, however they ended.
    """
    ids = jobs.ids
    found = queue.statuses(ids)
    if format_ == "0.6":
        print_old_words(found)
        return 0
    report = output.JobReport(as_json)
    if attempts:
        earlier = [job for id_ in dict.fromkeys(ids) for job in queue.attempts(id_)]
        found = {**{job.job_id: job for job in earlier}, **found}
        ids = tuple(found)
    for id_, job in found.items():
        if job is None:
            report.add(id_, None, error=queue.connection.job_not_found(id_))
        else:
            prefix = f"{output.title(id_, job)}: " if len(ids) > 1 else ""
            prefix = prefix or jobs.prefix(id_, job)
            report.add(id_, job, prefix + job.describe())
    return report.finish()


def print_old_words(found: Mapping[str, JobStatus | None]) -> None:
    """Print the statuses in the words of tej 0.6, for scripts that compare these words.

    tej 0.6 had only two states.  A pending job is therefore printed as "running", and a
    lost job as "finished".
    """
    for job in found.values():
        if job is None:
            output.say("not found")
        else:
            output.say(f"finished {of_job(job)}" if job.state.final else "running")
