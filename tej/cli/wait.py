"""`tej wait`: wait until jobs have ended."""

from __future__ import annotations

import click

from tej import errors
from tej.cli import output
from tej.cli.command import queue_command
from tej.cli.exit_status import TEJ_FAILED, of_job
from tej.cli.job_selection import SelectedJobs, job_selection
from tej.cli.options import seconds
from tej.job.status import JobStatus
from tej.queue.remote import RemoteQueue


@queue_command("wait", "[jobs...]", example="tej wait train-1 train-2")
@job_selection(latest=True)
@click.option(
    "--timeout", type=seconds, metavar="SECONDS", help="Stop waiting after SECONDS."
)
def command(
    queue: RemoteQueue, jobs: SelectedJobs, timeout: float | None, as_json: bool
) -> int:
    """Wait until jobs have ended; without a job, for the latest job of this project.

    The exit status is that of the job; for several jobs, the first that is not 0.  It
    is 125 if tej itself failed or the timeout was reached.
    """
    # The jobs are checked before the wait, because the wait retries after connection
    # failures.  A wrong job id or host name is therefore reported at once.
    ids = jobs.ids
    for one, found in queue.statuses(ids).items():
        if found is None:
            raise queue.connection.job_not_found(one)
    ended: dict[str, JobStatus] = {}
    late: errors.WaitTimeout | None = None
    try:
        for ended_id, status in queue.as_completed(ids, timeout):
            ended[ended_id] = status
            if not as_json:
                output.say_line(jobs.prefix(ended_id) + status.describe())
    except errors.WaitTimeout as error:
        late = error
    if as_json:
        documents = [
            output.as_document(one, status, None) for one, status in ended.items()
        ]
        why = {} if late is None else {"error": output.error_of(late)}
        output.print_json({"jobs": documents, **why})
    if late is not None:
        output.say(str(late), err=True)
        return TEJ_FAILED
    codes = [of_job(ended[one]) for one in dict.fromkeys(ids)]
    return next((code for code in codes if code), 0)
