"""`tej prune`: delete old jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

import click

from tej.cli import output
from tej.cli.command import queue_command
from tej.cli.common_options import duration, label_filter, parse_pairs, state_filter
from tej.cli.confirm_deletion import count_jobs, describe_loss, is_confirmed, yes_option
from tej.cli.exit_status import DECLINED
from tej.errors import JobStillRunning
from tej.job.status import JobStatus
from tej.queue.remote import RemoteQueue

Function = TypeVar("Function", bound=Callable[..., Any])


def prune_options(function: Function) -> Function:
    """Add the filters of `prune` and `cleanup`, and `--dry-run`, to a command."""
    for decorate in (
        click.option("--dry-run", is_flag=True, help="Print what would be deleted."),
        label_filter,
        state_filter,
        click.option(
            "--failed", is_flag=True, help="Delete jobs that ended without success."
        ),
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
@yes_option
def command(
    queue: RemoteQueue,
    older_than: timedelta | None,
    keep_last: int | None,
    failed: bool,
    states: tuple[str, ...],
    labels: tuple[str, ...],
    all_: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Delete ended jobs that match all filters, with their files.

    Jobs that have not ended, or have left processes running, are never deleted.  At a
    terminal, prompts for confirmation, with the number and size of the jobs.
    """
    if (
        older_than is None
        and keep_last is None
        and not (failed or states or labels or all_)
    ):
        raise click.UsageError(
            "Give --older-than, --keep-last, --failed, --state or --label; "
            "or --all for every job that has ended"
        )
    jobs = find_jobs(queue, older_than, keep_last, failed, states, labels)
    if dry_run:
        print_dry_run(queue, jobs, as_json)
        return 0
    return prune(queue, jobs, ask=not yes, as_json=as_json)


def find_jobs(
    queue: RemoteQueue,
    older_than: timedelta | None,
    keep_last: int | None,
    failed: bool,
    states: tuple[str, ...],
    labels: tuple[str, ...],
) -> list[JobStatus]:
    """Return the ended jobs that match the filters."""
    return queue.prune(
        older_than=older_than,
        keep_last=keep_last or 0,
        failed=failed,
        states=states,
        labels=parse_pairs(labels, "label"),
        dry_run=True,
    )


def prune(
    queue: RemoteQueue, jobs: list[JobStatus], *, ask: bool, as_json: bool
) -> int:
    """Delete the jobs, after confirmation if `ask` is true; return the exit status.

    A job that was submitted again after the search for old jobs is kept.
    """
    if jobs and ask and not is_confirmed(queue, jobs):
        output.say("Nothing was deleted", err=True)
        return DECLINED
    errors = queue.delete_many(jobs)
    deleted = [job for job in jobs if errors[job.job_id] is None]
    if as_json:
        print_jobs_as_json(deleted, {"deleted": True})
        return 0
    for job in deleted:
        output.say_line(f"Deleted job '{job.job_id}'")
    for error in errors.values():
        # It is not an error if another client has already deleted the job.
        if isinstance(error, JobStillRunning):
            output.say(str(error), err=True)
    lacking = sum(job.downloaded is None for job in deleted)
    if lacking and not ask:
        total = count_jobs(len(deleted))
        output.say(f"Not downloaded before deletion: {lacking} of {total}", err=True)
    if not jobs:
        output.say("No job matches", err=True)
    return 0


def print_dry_run(queue: RemoteQueue, jobs: list[JobStatus], as_json: bool) -> None:
    """Print the jobs that would be deleted, and their total size."""
    sizes = queue.sizes() if jobs else {}
    if as_json:
        print_jobs_as_json(jobs, {"deleted": False}, sizes)
        return
    for job in jobs:
        output.say_line(f"Would delete job '{job.job_id}'")
    output.say(f"This would delete {describe_loss(jobs, sizes)}", err=True)


def print_jobs_as_json(
    jobs: list[JobStatus],
    more: Mapping[str, object],
    sizes: Mapping[str, int] | None = None,
) -> None:
    """Print the jobs as one JSON document, with their sizes if these are given."""
    documents = []
    for job in jobs:
        size = {} if sizes is None else {"size": sizes.get(job.job_id)}
        documents.append(output.as_document(job.job_id, job, None, {**more, **size}))
    output.print_json({"jobs": documents})
