"""`tej cleanup`: delete old jobs like `tej prune`, or a queue like `tej destroy`."""

from __future__ import annotations

import sys
from datetime import timedelta

import click

from tej.cli.command import queue_command
from tej.cli.common_options import grace
from tej.cli.confirm_deletion import yes_option
from tej.cli.destroy import destroy, kill_option
from tej.cli.prune import find_jobs, print_dry_run, prune, prune_options
from tej.queue.remote import RemoteQueue


@queue_command("cleanup", example="tej cleanup lab --older-than 30d --dry-run")
@prune_options
@kill_option
@yes_option
@grace
def command(
    queue: RemoteQueue,
    kill: bool,
    grace: int,
    older_than: timedelta | None,
    keep_last: int | None,
    failed: bool,
    states: tuple[str, ...],
    labels: tuple[str, ...],
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Delete jobs that match the filters, like `tej prune`.

    A script that gives a filter does not need --yes.  Without a filter, the whole queue
    is removed, as by `tej destroy`, but only with --yes.
    """
    if older_than is None and keep_last is None and not (failed or states or labels):
        if not (yes or dry_run):
            raise click.UsageError(
                "Nothing was removed, because no filter is given: use `tej prune` to "
                "delete old jobs, or `tej destroy` to remove the queue with all its "
                "jobs"
            )
        return destroy(queue, yes, dry_run, kill, grace, as_json)
    if kill:
        raise click.UsageError("--kill cannot be combined with filters")
    jobs = find_jobs(queue, older_than, keep_last, failed, states, labels)
    if dry_run:
        print_dry_run(queue, jobs, as_json)
        return 0
    # A script is not prompted, because existing scripts call `tej cleanup` with a
    # filter and without --yes.
    ask = sys.stdin.isatty() and not yes
    return prune(queue, jobs, ask=ask, as_json=as_json)
