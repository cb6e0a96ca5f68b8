"""`tej list`: list the jobs in a queue.

`queue/job_filters.py` selects and sorts the jobs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import click

from tej.cli import output
from tej.cli.columns_option import check_columns, parse_columns
from tej.cli.command import queue_command
from tej.cli.common_options import list_filters
from tej.cli.job_tree import print_tree
from tej.cli.live_table import watch
from tej.cli.table_output import print_exact, print_lines, print_table
from tej.job.formatting import format_size
from tej.job.table_columns import COLUMNS, JobTable
from tej.queue.job_filters import ORDERS, sort_jobs
from tej.queue.job_search import newest_first

if TYPE_CHECKING:
    from tej.job.status import JobStatus
    from tej.queue.queue_requests import DiskUsage
    from tej.queue.remote import RemoteQueue

NEWEST = "newest"
"""Default sort order of the table, in which `@` is the first job, and `@2` the
second."""


@queue_command(
    "list",
    example="tej list lab --state running --columns job,state,name",
    connects_early=True,
)
@list_filters
@click.option(
    "--sort",
    type=click.Choice([NEWEST, *ORDERS]),
    metavar="KEY",
    help=f"Sort by {NEWEST}, {', '.join(ORDERS)}.  [default: newest; id in a pipe]",
)
@click.option(
    "--columns",
    metavar="NAMES",
    help=f"Print these columns: {', '.join(COLUMNS)}, size, a resource such as cpus, "
    "or a parameter or label.",
)
@click.option(
    "--sizes", is_flag=True, help="Print the disk space of each job, and totals."
)
@click.option(
    "--tree", "as_tree", is_flag=True, help="Print a tree of jobs and their dependents."
)
@click.option(
    "--last",
    type=click.IntRange(1),
    metavar="N",
    help="Only the N jobs that changed last (fast in a queue with many jobs).",
)
@click.option("--watch", "watched", is_flag=True, help="Update the list until Ctrl-C.")
def command(
    queue: RemoteQueue,
    choose: Callable[[Iterable[JobStatus]], list[JobStatus]],
    sort: str | None,
    columns: str | None,
    sizes: bool,
    as_tree: bool,
    last: int | None,
    watched: bool,
    as_json: bool,
) -> None:
    """List the jobs in the queue: a table at a terminal, else one line per job.

    In a pipe, each line has the id, the state, the size in bytes (with --sizes), and
    the exit code (if the job has ended).  With --columns, the values are exact and are
    separated by tabs.
    """
    is_terminal = sys.stdout.isatty() and not as_json
    if as_tree and (as_json or columns or sizes or watched):
        raise click.UsageError(
            "--tree cannot be combined with --json, --columns, --sizes or --watch"
        )
    order = sort or (NEWEST if is_terminal else "id")
    names = None if columns is None else parse_columns(columns)
    measured = sizes or "size" in (names or ())

    def get_table() -> tuple[JobTable, DiskUsage | None]:
        jobs = queue.jobs(last=last)
        check_columns(names or (), jobs)
        chosen = choose(jobs)
        usage = queue.disk_usage() if measured else None
        room = None if usage is None else usage.jobs
        known_ids = [job.job_id for job in jobs]
        if last is not None:
            # The ids of the older jobs are unknown, so the table must not shorten any
            # id.  JobTable does not shorten an id that is the beginning of another
            # known id, so pass `ID.` as a known id for each job.
            known_ids = [f"{job_id}." for job_id in known_ids]
        table = JobTable(arrange(chosen, order), names, sizes=room, known_ids=known_ids)
        return table, usage

    if as_tree:
        found = choose(queue.jobs(last=last))
        print_tree(arrange(found, sort or "submitted"))
        return
    if watched:
        if not is_terminal:
            raise click.UsageError(
                "--watch needs a terminal, and does not support --json"
            )
        place = f"{queue.queue} on {queue.destination_string}"
        watch(lambda: get_table()[0], place)
        return
    table, usage = get_table()
    if as_json:
        print_json(table.jobs, usage)
        return
    print_list(table, None if usage is None else usage.jobs)
    if usage is not None and sizes:
        print_totals(usage)


def arrange(jobs: Iterable[JobStatus], order: str) -> list[JobStatus]:
    """Return the jobs sorted by `order`, a value of the option `--sort`."""
    return newest_first(jobs) if order == NEWEST else sort_jobs(jobs, order)


def print_list(table: JobTable, sizes: Mapping[str, int] | None) -> None:
    """Print a table of jobs at a terminal, or a line per job in a pipe."""
    if sys.stdout.isatty():
        print_table(table)
    elif table.are_chosen:
        print_exact(table)
    else:
        print_lines(table.jobs, sizes)


def print_json(jobs: Iterable[JobStatus], usage: DiskUsage | None) -> None:
    """Print the jobs, and the disk usage if it is known, as one JSON document."""
    documents = [
        output.as_document(
            job.job_id,
            job,
            None,
            {} if usage is None else {"size": usage.jobs.get(job.job_id)},
        )
        for job in jobs
    ]
    document: dict[str, object] = {"jobs": documents}
    if usage is not None:
        document["disk_usage"] = {
            "total": usage.total,
            "store": usage.store,
            "attempts": usage.attempts,
        }
    output.print_json(document)


def print_totals(usage: DiskUsage) -> None:
    """Print the disk usage of a queue to stderr, after the list of its jobs."""
    output.say(
        f"Total {format_size(usage.total)}, of which the content store "
        f"{format_size(usage.store)} and archived attempts "
        f"{format_size(usage.attempts)}",
        err=True,
    )
