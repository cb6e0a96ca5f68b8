"""`tej wait`: wait until jobs have ended."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from tej import errors
from tej.cli import output
from tej.cli.command import queue_command
from tej.cli.common_options import seconds
from tej.cli.exit_status import WAIT_TIMED_OUT, of_jobs
from tej.cli.job_selection import SelectedJobs, job_selection
from tej.cli.notify import notify
from tej.job.summary import summarize

if TYPE_CHECKING:
    from tej.job.status import JobStatus
    from tej.queue.remote import RemoteQueue

POLL = 5.0
"""Number of seconds between two requests for the states of the pending jobs."""


@queue_command(
    "wait", "[jobs...]", example="tej wait train-1 train-2", connects_early=True
)
@job_selection(latest=True)
@click.option(
    "--timeout", type=seconds, metavar="SECONDS", help="Stop waiting after SECONDS."
)
@click.option(
    "--notify",
    "notifies",
    is_flag=True,
    help="Notify on the desktop when the jobs have ended, or ring the terminal bell.",
)
def command(
    queue: RemoteQueue,
    jobs: SelectedJobs,
    timeout: float | None,
    notifies: bool,
    as_json: bool,
) -> int:
    """Wait until jobs have ended; without a job, for the latest job of this project.

    The exit status is that of the job; for several jobs, the first that is not 0.  The
    exit status is 125 if tej itself failed or the timeout was reached.
    """
    # Check the jobs before the wait, so that a wrong job id or host name is reported
    # immediately. The wait itself would retry after a connection failure.
    ids = jobs.ids
    known = queue.statuses(ids)
    for one, found in known.items():
        if found is None:
            raise queue.connection.job_not_found(one)
    ended: dict[str, JobStatus] = {}
    late: errors.WaitTimeout | None = None
    progress = Progress(queue, known)
    try:
        for ended_id, status in queue.as_completed(
            ids, timeout, on_tick=progress.update
        ):
            ended[ended_id] = known[ended_id] = status
            progress.clear()
            if not as_json:
                output.say_line(jobs.prefix(ended_id, status) + status.describe())
    except errors.WaitTimeout as error:
        late = error
    finally:
        progress.finish()
    if notifies:
        notify("tej wait", str(late) if late is not None else describe_end(ended))
    if as_json:
        documents = [
            output.as_document(one, status, None) for one, status in ended.items()
        ]
        why = {} if late is None else {"error": output.error_of(late)}
        output.print_json({"jobs": documents, **why})
    if late is not None:
        output.say(str(late), err=True)
        return WAIT_TIMED_OUT
    return of_jobs(ended[one] for one in dict.fromkeys(ids))


def describe_end(ended: Mapping[str, JobStatus]) -> str:
    """Return one line about jobs that have ended."""
    if len(ended) == 1:
        ((job_id, status),) = ended.items()
        return f"{status.name or job_id}: {status.describe()}"
    return summarize(ended.values())


class Progress:
    """A line on stderr, such as "12/30 done, 2 failed, 1 running", during a wait.

    The line is shown only at a terminal, and only if more than one job is awaited.
    """

    def __init__(self, queue: RemoteQueue, known: dict[str, JobStatus | None]) -> None:
        self._queue = queue
        self._known = known
        """The last known status of each job, which the caller also updates."""
        self._wanted = len(known) > 1 and sys.stderr.isatty()
        self._shown = ""
        self._due = time.monotonic() + POLL

    def update(self) -> None:
        """Show how many jobs are in each state; request the states periodically."""
        if not self._wanted:
            return
        if time.monotonic() >= self._due:
            self._request()
            self._due = time.monotonic() + POLL
        text = summarize(self._known.values())
        if text != self._shown:
            self.clear()
            click.echo(text, nl=False, err=True)
            self._shown = text

    def _request(self) -> None:
        pending = [
            one
            for one, status in self._known.items()
            if status is None or not status.state.final
        ]
        # Final statuses are ignored here: the wait reports each end, so that a job
        # counts as done only after its line was printed. The wait also handles lost
        # connections.
        with contextlib.suppress(errors.ConnectionFailed):
            for one, status in self._queue.statuses(pending).items():
                if status is not None and not status.state.final:
                    self._known[one] = status

    def clear(self) -> None:
        """Remove the line, so that other output starts at the left margin."""
        if self._shown:
            click.echo(f"\r{' ' * len(self._shown)}\r", nl=False, err=True)
            self._shown = ""

    def finish(self) -> None:
        """End the progress line, so that it remains on the screen."""
        self.clear()
        if self._wanted:
            click.echo(summarize(self._known.values()), err=True)
