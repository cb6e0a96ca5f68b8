"""`tej status`: the status of jobs."""

from __future__ import annotations

import click

from tej.cli import output
from tej.cli.command import queue_command
from tej.cli.options import job_ids
from tej.queue.remote import RemoteQueue


@queue_command("status", example="tej status lab --id train-1")
@job_ids
@click.option(
    "--attempts", is_flag=True, help="Include the archived attempts ID#1, ID#2, ..."
)
def command(
    queue: RemoteQueue, ids: tuple[str, ...], attempts: bool, as_json: bool
) -> int:
    """Print the status of jobs.

    The exit status is 0 if all jobs exist, however they ended.
    """
    report = output.JobReport(as_json)
    found = queue.statuses(ids)
    if attempts:
        earlier = [job for id_ in dict.fromkeys(ids) for job in queue.attempts(id_)]
        found = {**{job.job_id: job for job in earlier}, **found}
        ids = tuple(found)
    for id_, job in found.items():
        if job is None:
            report.add(id_, None, error=queue.connection.job_not_found(id_))
        else:
            report.add(id_, job, output.prefix(ids, id_) + job.describe())
    return report.finish()
