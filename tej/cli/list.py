"""`tej list`: list the jobs in a queue."""

from __future__ import annotations

from datetime import datetime

import click

from tej.cli import output
from tej.cli.command import queue_command
from tej.cli.options import label_filter, moment, parse_pairs, state_filter
from tej.queue.filters import ORDERS
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
        output.print_list(jobs, room)
        if usage is not None:
            output.print_totals(usage)
