"""`tej wait`: wait until jobs have ended."""

from __future__ import annotations

import click

from tej import errors
from tej.cli import output
from tej.cli.command import queue_command
from tej.cli.exit_status import TEJ_FAILED, of_job
from tej.cli.options import job_ids, seconds
from tej.job.status import JobStatus
from tej.queue.remote import RemoteQueue


@queue_command("wait", example="tej wait lab --id train-1 --id train-2")
@job_ids
@click.option(
    "--timeout", type=seconds, metavar="SECONDS", help="Stop waiting after SECONDS."
)
def command(
    queue: RemoteQueue, ids: tuple[str, ...], timeout: float | None, as_json: bool
) -> int:
    """Wait until jobs have ended.

    The exit status is that of the job; for several jobs, the first that is not 0.  It
    is 125 if tej itself failed or the timeout was reached.
    """
    # The jobs are checked before the wait, because the wait retries after connection
    # failures.  A wrong job id or host name is therefore reported at once.
    for one, found in queue.statuses(ids).items():
        if found is None:
            raise queue.connection.job_not_found(one)
    ended: dict[str, JobStatus] = {}
    late: errors.WaitTimeout | None = None
    try:
        for ended_id, status in queue.as_completed(ids, timeout):
            ended[ended_id] = status
            if not as_json:
                output.say_line(output.prefix(ids, ended_id) + status.describe())
    except errors.WaitTimeout as error:
        late = error
    if as_json:
        jobs = [output.as_document(one, status, None) for one, status in ended.items()]
        why = {} if late is None else {"error": output.error_of(late)}
        output.print_json({"jobs": jobs, **why})
    if late is not None:
        output.say(str(late), err=True)
        return TEJ_FAILED
    codes = [of_job(ended[one]) for one in dict.fromkeys(ids)]
    return next((code for code in codes if code), 0)
