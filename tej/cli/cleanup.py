"""`tej cleanup`: delete old jobs, or remove a queue."""

from __future__ import annotations

from datetime import timedelta

import click

from tej.cli import output
from tej.cli.command import queue_command
from tej.cli.options import duration, grace, label_filter, parse_pairs, state_filter
from tej.job.status import JobStatus
from tej.queue.remote import RemoteQueue


@queue_command("cleanup", example="tej cleanup lab --older-than 30d --dry-run")
@click.option(
    "--older-than",
    type=duration,
    metavar="TIME",
    help="Delete jobs that ended longer ago than TIME: 30d, 12h.",
)
@click.option(
    "--keep-last",
    type=click.IntRange(0),
    metavar="N",
    help="Keep the N most recently finished jobs.",
)
@state_filter
@label_filter
@click.option("--dry-run", is_flag=True, help="Print what would be deleted.")
@click.option("--kill", is_flag=True, help="Kill running jobs (whole queue only).")
@grace
def command(
    queue: RemoteQueue,
    kill: bool,
    grace: int,
    older_than: timedelta | None,
    keep_last: int | None,
    states: tuple[str, ...],
    labels: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Remove the queue with all its jobs, and the links that led to it.

    With --older-than, --keep-last, --state or --label, delete the ended jobs that match
    instead, and keep the queue.
    """
    if older_than is None and keep_last is None and not (states or labels):
        remove_queue(queue, kill, grace, dry_run, as_json)
        return
    if kill:
        raise click.UsageError("--kill cannot be combined with filters")
    chosen = queue.prune(
        older_than=older_than,
        keep_last=keep_last or 0,
        states=states,
        labels=parse_pairs(labels, "label"),
        dry_run=dry_run,
    )
    print_deleted(chosen, dry_run, as_json)


def print_deleted(jobs: list[JobStatus], dry_run: bool, as_json: bool) -> None:
    """Print the jobs that were deleted, or would be."""
    if as_json:
        gone = {"deleted": not dry_run}
        documents = [output.as_document(job.job_id, job, None, gone) for job in jobs]
        output.print_json({"jobs": documents})
    for job in () if as_json else jobs:
        output.say_line(
            f"{'Would delete' if dry_run else 'Deleted'} job '{job.job_id}'"
        )


def remove_queue(
    queue: RemoteQueue, kill: bool, grace: int, dry_run: bool, as_json: bool
) -> None:
    """Remove the queue; with `dry_run` print its jobs."""
    place = str(queue.queue)
    if not dry_run:
        queue.cleanup(kill, grace=grace)
        if as_json:
            output.print_json({"queue": place, "removed": True})
        else:
            output.say(f"Removed the queue '{place}'", err=True)
        return
    jobs = queue.jobs()
    running = [job.job_id for job in jobs if not job.state.final]
    if as_json:
        ids = [job.job_id for job in jobs]
        output.print_json(
            {"queue": place, "removed": False, "jobs": ids, "running": running}
        )
        return
    output.say(f"Would remove the queue '{place}' with its {len(jobs)} jobs")
    for job_id in running:
        output.say(
            f"Would kill job '{job_id}'"
            if kill
            else f"Job '{job_id}' is still running: nothing would be removed"
        )
