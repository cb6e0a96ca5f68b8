"""`tej destroy`: remove a queue with all its jobs."""

from __future__ import annotations

import sys

import click

from tej.cli import output
from tej.cli.command import queue_command
from tej.cli.options import grace
from tej.job.escaping import escape
from tej.queue.remote import RemoteQueue

yes_option = click.option(
    "-y", "--yes", is_flag=True, help="Do not ask; required in scripts."
)
kill_option = click.option(
    "--kill", is_flag=True, help="Kill running jobs (whole queue only)."
)


@queue_command("destroy", example="tej destroy lab --queue /scratch/q --yes")
@yes_option
@click.option("--dry-run", is_flag=True, help="Print what would be removed.")
@kill_option
@grace
def command(
    queue: RemoteQueue, yes: bool, dry_run: bool, kill: bool, grace: int, as_json: bool
) -> int:
    """Remove a queue with all its jobs, and the links that led to it.

    At a terminal, prompts for confirmation, with the number and size of the jobs.
    """
    return destroy(queue, yes, dry_run, kill, grace, as_json)


def destroy(
    queue: RemoteQueue, yes: bool, dry_run: bool, kill: bool, grace: int, as_json: bool
) -> int:
    """Remove the queue after a confirmation by the user; return the exit status."""
    place = str(queue.queue)
    if dry_run:
        print_loss(queue, kill, as_json)
        return 0
    if not yes and not is_agreed(queue):
        output.say("Nothing was removed", err=True)
        return 1
    queue.cleanup(kill, grace=grace)
    if as_json:
        output.print_json({"queue": place, "removed": True})
    else:
        output.say(f"Removed the queue '{place}'", err=True)
    return 0


def is_agreed(queue: RemoteQueue) -> bool:
    """Prompt for a confirmation of the removal, and return whether the user agrees.

    Raises click.UsageError if standard input is not a terminal.
    """
    loss = describe_loss(queue)
    if not sys.stdin.isatty():
        raise click.UsageError(
            escape(f"This removes {loss}, results included: add --yes. ")
            + "To delete only old jobs, use `tej prune`"
        )
    return click.confirm(escape(f"Remove {loss}, results included?"), err=True)


def describe_loss(queue: RemoteQueue) -> str:
    """Return the queue with the number and size of its jobs, as words for a sentence.

    The numbers of jobs that have not ended, and of jobs that have ended and were not
    downloaded, are included if there are such jobs.
    """
    jobs = queue.jobs()
    noun = "job" if len(jobs) == 1 else "jobs"
    size = sum(queue.sizes().values()) / 1e6
    alive = sum(not job.state.final for job in jobs)
    lacking = sum(job.state.final and job.downloaded is None for job in jobs)
    unfinished = f", {lacking} not yet downloaded" if lacking else ""
    unfinished += f", {alive} not ended" if alive else ""
    return (
        f"the queue '{queue.queue}' on {queue.destination_string} with {len(jobs)} "
        f"{noun} ({size:.1f} MB{unfinished})"
    )


def print_loss(queue: RemoteQueue, kill: bool, as_json: bool) -> None:
    """Print which jobs the removal of the queue would delete and kill."""
    place = str(queue.queue)
    jobs = queue.jobs()
    running = [job.job_id for job in jobs if not job.state.final]
    if as_json:
        ids = [job.job_id for job in jobs]
        output.print_json(
            {"queue": place, "removed": False, "jobs": ids, "running": running}
        )
        return
    output.say(f"Would remove the queue '{place}' with its {len(jobs)} jobs")
    output.say_lacking(jobs, is_past=False)
    for job_id in running:
        output.say_line(
            f"Would kill job '{job_id}'"
            if kill
            else f"Job '{job_id}' is still running: nothing would be removed"
        )
