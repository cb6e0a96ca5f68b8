"""`tej prune`: delete old jobs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import click

from tej.cli import output
from tej.cli.command import queue_command
from tej.cli.options import duration, label_filter, parse_pairs, state_filter
from tej.queue.remote import RemoteQueue

Function = TypeVar("Function", bound=Callable[..., Any])


def prune_options(function: Function) -> Function:
    """Add the filters of `prune` and `cleanup`, and `--dry-run`, to a command."""
    for decorate in (
        click.option("--dry-run", is_flag=True, help="Print what would be deleted."),
        label_filter,
        state_filter,
        click.option(
            "--keep-last",
            type=click.IntRange(0),
            metavar="N",
            help="Keep the N most recently finished jobs.",
        ),
        click.option(
            "--older-than",
            type=duration,
            metavar="TIME",
            help="Delete jobs that ended longer ago than TIME: 30d, 12h.",
        ),
    ):
        function = decorate(function)
    return function


@queue_command("prune", example="tej prune lab --older-than 30d --dry-run")
@prune_options
@click.option("--all", "all_", is_flag=True, help="Delete all jobs that have ended.")
def command(
    queue: RemoteQueue,
    older_than: timedelta | None,
    keep_last: int | None,
    states: tuple[str, ...],
    labels: tuple[str, ...],
    all_: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Delete ended jobs that match all filters, with their files.

    Jobs that have not ended or have left processes are never deleted.
    """
    if older_than is None and keep_last is None and not (states or labels or all_):
        raise click.UsageError(
            "Give --older-than, --keep-last, --state or --label; "
            "or --all for every job that has ended"
        )
    prune(queue, older_than, keep_last, states, labels, dry_run, as_json)


def prune(
    queue: RemoteQueue,
    older_than: timedelta | None,
    keep_last: int | None,
    states: tuple[str, ...],
    labels: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Delete the jobs that match the filters, and print the ids of these jobs."""
    jobs = queue.prune(
        older_than=older_than,
        keep_last=keep_last or 0,
        states=states,
        labels=parse_pairs(labels, "label"),
        dry_run=dry_run,
    )
    if as_json:
        gone = {"deleted": not dry_run}
        documents = [output.as_document(job.job_id, job, None, gone) for job in jobs]
        output.print_json({"jobs": documents})
        return
    for job in jobs:
        output.say_line(
            f"{'Would delete' if dry_run else 'Deleted'} job '{job.job_id}'"
        )
    output.say_lacking(jobs, is_past=not dry_run)
