"""`tej destroy`: remove a queue with all its jobs."""

from __future__ import annotations

import click

from tej.cli import output
from tej.cli.command import queue_command
from tej.cli.common_options import grace
from tej.cli.confirm_deletion import confirm, describe_loss, yes_option
from tej.cli.exit_status import DECLINED
from tej.queue.remote import RemoteQueue

kill_option = click.option(
    "--kill", is_flag=True, help="Kill the running jobs of the queue first."
)


@queue_command("destroy", example="tej destroy lab --queue /scratch/q --yes")
@yes_option
@click.option("--dry-run", is_flag=True, help="Print what would be removed.")
@kill_option
@grace
def command(
    queue: RemoteQueue, yes: bool, dry_run: bool, kill: bool, grace: int, as_json: bool
) -> int:
    """Remove a queue with all its jobs, and the links to the queue.

    At a terminal, prompts for confirmation, with the number and size of the jobs.
    """
    return destroy(queue, yes, dry_run, kill, grace, as_json)


def destroy(
    queue: RemoteQueue, yes: bool, dry_run: bool, kill: bool, grace: int, as_json: bool
) -> int:
    """Remove the queue after confirmation by the user; return the exit status."""
    place = str(queue.queue)
    if dry_run:
        print_loss(queue, kill, as_json)
        return 0
    if not yes and not is_agreed(queue):
        output.say("Nothing was removed", err=True)
        return DECLINED
    queue.cleanup(kill, grace=grace)
    if as_json:
        output.print_json({"queue": place, "removed": True})
    else:
        output.say(f"Removed the queue '{place}'", err=True)
    return 0


def is_agreed(queue: RemoteQueue) -> bool:
    """Ask the user whether to remove the queue; return True if the user agrees.

    Raises click.UsageError if standard input is not a terminal.
    """
    loss = (
        f"the queue '{queue.queue}' on '{queue.destination_string}' with "
        f"{describe_loss(queue.jobs(), queue.sizes())}"
    )
    return confirm("remove", loss, ". To delete only old jobs, use `tej prune`")


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
    loss = describe_loss(jobs, queue.sizes())
    output.say(f"Would remove the queue '{place}' with {loss}")
    for job_id in running:
        output.say_line(
            f"Would kill job '{job_id}'"
            if kill
            else f"Job '{job_id}' is still running: nothing would be removed"
        )
