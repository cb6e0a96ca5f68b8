"""`tej list`: list the jobs in a queue."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from datetime import datetime

import click

from tej.cli import output
from tej.cli.command import queue_command
from tej.cli.options import label_filter, moment, parse_pairs, state_filter
from tej.job.status import JobStatus, format_duration
from tej.queue.filters import ORDERS
from tej.queue.management import DiskUsage
from tej.queue.remote import RemoteQueue


@queue_command("list", example="tej list lab --state running --sort started")
@state_filter
@label_filter
@click.option(
    "--since",
    type=moment,
    metavar="WHEN",
    help="Only jobs submitted since WHEN: 3d, 12h, 2026-11-22.",
)
@click.option(
    "--sort",
    type=click.Choice(list(ORDERS)),
    metavar="KEY",
    default="id",
    show_default=True,
    help=f"Sort by {', '.join(ORDERS)}.",
)
@click.option(
    "--sizes", is_flag=True, help="Print the disk space of each job, and totals."
)
def command(
    queue: RemoteQueue,
    states: tuple[str, ...],
    labels: tuple[str, ...],
    since: datetime | None,
    sort: str,
    sizes: bool,
    as_json: bool,
) -> None:
    """List the jobs in the queue: a table at a terminal, else one line per job."""
    wanted = parse_pairs(labels, "label")
    jobs = queue.jobs(states=states, labels=wanted, since=since, sort=sort)
    usage = queue.disk_usage() if sizes else None
    room = None if usage is None else usage.jobs
    if as_json:
        documents = [
            output.as_document(
                job.job_id,
                job,
                None,
                {} if room is None else {"size": room.get(job.job_id)},
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
    else:
        print_list(jobs, room)
        if usage is not None:
            print_totals(usage)


def print_list(
    jobs: Iterable[JobStatus], sizes: Mapping[str, int] | None = None
) -> None:
    """Print the jobs as a table, or as lines with id, state and size.

    The table is printed if stdout is a terminal.
    """
    if sys.stdout.isatty():
        _print_table(list(jobs), sizes)
        return
    for job in jobs:
        size = "" if sizes is None else f" {sizes.get(job.job_id, 0)}"
        output.say_line(f"{job.job_id} {job.state}{size}")


def _print_table(jobs: list[JobStatus], sizes: Mapping[str, int] | None) -> None:
    from rich.console import Console
    from rich.filesize import decimal
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("job", "state", "exit", "started", "duration", "where", "name"):
        table.add_column(title, no_wrap=title in ("job", "state", "exit", "duration"))
    if sizes is not None:
        table.add_column("size", no_wrap=True, justify="right")
    for job in jobs:
        started = "" if job.started is None else f"{job.started.astimezone():%F %H:%M}"
        table.add_row(
            # The id is passed as a Text, because rich would interpret markup such as
            # [red] in a string.
            Text(output.escape(job.job_id, keep="")),
            str(job.state),
            job.result or "",
            started,
            "" if job.duration is None else format_duration(job.duration),
            Text(output.escape(job.host or "", keep="")),
            Text(output.escape(job.name, keep="")),
            *([] if sizes is None else [decimal(sizes.get(job.job_id, 0))]),
        )
    console = Console()
    # The table may be wider than the terminal, because a truncated job id would be
    # useless.
    wide = console.options.update(max_width=10_000)
    console.width = max(console.width, console.measure(table, options=wide).minimum)
    console.print(table if jobs else "No jobs")


def print_totals(usage: DiskUsage) -> None:
    """Print the disk usage of a queue to stderr, after the list of its jobs."""
    from rich.filesize import decimal

    output.say(
        f"Total {decimal(usage.total)}, of which the content store "
        f"{decimal(usage.store)} and archived attempts {decimal(usage.attempts)}",
        err=True,
    )
