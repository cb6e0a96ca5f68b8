"""`tej kill`: kill jobs."""

from __future__ import annotations

import click

from tej.cli import output
from tej.cli.command import queue_command
from tej.cli.common_options import grace
from tej.cli.job_selection import SelectedJobs, job_selection
from tej.job.status import JobStatus
from tej.queue.kill_request import Killed, why_alive, why_missing
from tej.queue.remote import RemoteQueue


def can_be_killed(job: JobStatus) -> bool:
    """Return whether a job has not ended, or has left processes running."""
    return not job.state.final or job.processes_left > 0


@queue_command("kill", "[jobs...]", example="tej kill train-1 --grace 60")
@job_selection(only=can_be_killed, otherwise="had already ended")
@click.option(
    "--with-dependents", is_flag=True, help="Also kill the jobs that need these jobs."
)
@grace
def command(
    queue: RemoteQueue,
    jobs: SelectedJobs,
    with_dependents: bool,
    grace: int,
    as_json: bool,
) -> int:
    """Kill running jobs, with all their processes.

    Sends SIGTERM to all processes, and SIGKILL after the grace period.  Filters select
    only jobs that have not ended, or have left processes running.
    """
    report = output.JobReport(as_json)
    # If a job was retried after the filters were applied, the new attempt has not
    # matched the filters.  `kill_many` spares it if it gets the earlier status.
    found = jobs.statuses.values() if jobs.by_filter else jobs.ids
    killed = queue.kill_many(found, grace=grace, with_dependents=with_dependents)
    for id_, outcome in killed.items():
        if outcome is None:
            job = jobs.statuses.get(id_, id_) if jobs.by_filter else id_
            report.add(id_, None, error=why_missing(queue.connection, job))
        else:
            report.add(
                id_,
                outcome.status,
                f"Job '{id_}' {describe(outcome)}",
                why_alive(outcome.status),
                {"was": outcome.was.value},
            )
    return report.finish()


def describe(outcome: Killed) -> str:
    """Return the message for the outcome of a kill, in the words of tej 0.6."""
    if not outcome.was.final:
        return "killed"
    strays = "; its remaining processes were killed" if outcome.strays else ""
    return f"has already completed{strays}"
