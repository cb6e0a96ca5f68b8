"""`tej delete`: delete jobs that have ended."""

from __future__ import annotations

import click

from tej.cli import output
from tej.cli.command import queue_command
from tej.cli.confirm_deletion import is_confirmed, yes_option
from tej.cli.exit_status import DECLINED
from tej.cli.job_selection import SelectedJobs, job_selection
from tej.job.status import JobStatus
from tej.queue.remote import RemoteQueue


def has_ended(job: JobStatus) -> bool:
    """Return whether a job has ended and has left no processes."""
    return job.state.final and not job.processes_left


@queue_command("delete", "[jobs...]", example="tej delete train-1")
@job_selection(only=has_ended, otherwise="have not ended")
@yes_option
@click.pass_context
def command(
    context: click.Context,
    queue: RemoteQueue,
    jobs: SelectedJobs,
    yes: bool,
    as_json: bool,
) -> int:
    """Delete jobs that have ended, with their files and archived attempts.

    Filters select only jobs that have ended.  With --all, prompts for confirmation at a
    terminal, and needs --yes in a script.
    """
    loss = jobs.statuses.values()
    if context.params["all_"] and not yes and not is_confirmed(queue, loss):
        output.say("Nothing was deleted", err=True)
        return DECLINED
    report = output.JobReport(as_json)
    # If a job was submitted again after the filters were applied, the new job has not
    # matched the filters.  `delete_many` keeps this job if it gets the earlier status.
    found = jobs.statuses.values() if jobs.by_filter else jobs.ids
    for id_, error in queue.delete_many(found).items():
        deletion = {"deleted": error is None}
        report.add(id_, None, f"Deleted job '{id_}'", error, deletion)
    if jobs.skipped and not as_json:
        output.say(
            f"Jobs that match but have not ended, and are kept: {jobs.skipped}",
            err=True,
        )
    return report.finish()
