"""`tej run`: run a job, print its output, and download its results."""

from __future__ import annotations

import contextlib
import os
import shlex
import time
from pathlib import Path

import click

from tej import errors
from tej.cli import output
from tej.cli.command import queue_command
from tej.cli.exit_status import INTERRUPTED, TEJ_FAILED, of_job
from tej.cli.options import (
    environment,
    everything,
    grace,
    job_labels,
    parse_pairs,
    resources,
    runtime,
    script,
)
from tej.job.directory import scan
from tej.job.resources import Resources
from tej.job.signature import make_id, signature
from tej.job.status import JobState, JobStatus
from tej.queue.connection import DEFAULT_TEJ_DIR
from tej.queue.job import Job
from tej.queue.logs import STREAMS
from tej.queue.remote import RemoteQueue

LOOKS = 4
"""Maximum number of status requests for a job whose submission was interrupted."""


@queue_command(
    "run", "[directory]", example="tej run lab simulation/ --download 'results/*.csv'"
)
@click.option(
    "--id", "id_", metavar="ID", help="Id of the job.  [default: the signature]"
)
@script
@runtime
@click.option(
    "--download",
    "patterns",
    multiple=True,
    metavar="PATTERN",
    help="Fetch this file, directory or pattern; may be repeated.",
)
@click.option(
    "--directory",
    "target",
    default=".",
    show_default=True,
    metavar="DIR",
    help="Write the fetched files to DIR.",
)
@click.option("--retry", is_flag=True, help="Restart the job if it has failed.")
@click.option("-q", "--quiet", is_flag=True, help="Do not print the job's output.")
@click.option(
    "--kill-on-interrupt", is_flag=True, help="Ctrl-C kills the job.  [default: no]"
)
@grace
@job_labels
@environment
@everything
@resources
def command(
    queue: RemoteQueue,
    directory: str,
    id_: str | None,
    script: str | None,
    variables: tuple[str, ...],
    labels: tuple[str, ...],
    resources: Resources,
    login: bool,
    everything: bool,
    patterns: tuple[str, ...],
    target: str,
    retry: bool,
    quiet: bool,
    kill_on_interrupt: bool,
    grace: int,
    as_json: bool,
) -> int:
    """Run a directory as a job, print its output, fetch its results.

    If a job for the same work exists, it is not started again: a running job is
    followed from the beginning, and the results of a finished job are fetched, from any
    machine.  The exit status is that of the job, or 125 if tej itself failed.
    """
    environment = parse_pairs(variables, "variable")
    bar = output.TransferBar(
        "Uploading", output.size_of(directory, everything=everything)
    )
    try:
        with bar:
            job = queue.ensure(
                directory,
                script=script,
                job_id=id_,
                retry=retry,
                labels=parse_pairs(labels, "label"),
                environment=environment,
                resources=resources,
                login=login,
                everything=everything,
                progress=bar,
            )
    except KeyboardInterrupt:
        if not bar.done:
            output.say("\nNothing was started", err=True)
            return INTERRUPTED
        sent = id_ or make_id(
            signature(directory, script, environment, everything=everything)
        )
        return interrupted_while_sent(queue.job(sent), kill_on_interrupt, grace)
    output.say(f"Job {'submitted as' if job.is_new else 'found'}: {job.id}", err=True)
    try:
        print_delay(job.status_then)
        status = follow(job, show=not (quiet or as_json))
    except KeyboardInterrupt:
        return interrupted(job, kill_on_interrupt, grace)
    output.say_line(status.describe(), err=True)
    if not (job.is_new or status.succeeded or retry):
        output.say("This is an earlier job; --retry restarts it", err=True)
    written, error = fetch(job, patterns, target)
    warn_of_own_results(written, Path(directory).resolve())
    if as_json:
        more = {"is_new": job.is_new, "files": written}
        output.print_json(output.as_document(job.id, status, error, more))
    return of_job(status) or (0 if error is None else TEJ_FAILED)


def print_delay(status: JobStatus | None) -> None:
    """Print why the job has no output yet, if the job has not started."""
    if status is not None and status.state in (JobState.CREATED, JobState.QUEUED):
        output.say_line(status.describe(), err=True)


def follow(job: Job[RemoteQueue], *, show: bool) -> JobStatus:
    """Print stdout and stderr of the job until the job has ended; return its status."""
    logs = job.queue.read_logs(job.id, STREAMS if show else (), follow=True)
    logs.read(output.write_piece)
    if logs.status is not None and logs.status.state.final:
        return logs.status
    return job.wait()


def warn_of_own_results(written: list[str], directory: Path) -> None:
    """Print a warning if downloaded results change the signature of the job."""
    results = {Path(name).resolve() for name in written}
    if not any(one.is_relative_to(directory) for one in results):
        return
    if any(entry.source in results for entry in scan(directory)):
        output.say(
            "Results in the job's own directory change its signature: "
            "use --directory, or list them in .tejignore",
            err=True,
        )


def interrupted_while_sent(job: Job[RemoteQueue], kill: bool, grace: int) -> int:
    """Handle Ctrl-C during the submission, when it is unknown whether the job exists.

    Returns the exit status of the command.
    """
    try:
        status = look_for(job)
    except errors.ConnectionFailed as error:
        output.say(f"\nIt is unknown whether the job was started: {error}", err=True)
        return interrupted(job, False, grace)
    if status is None:
        output.say(f"\nJob '{job.id}' was not started", err=True)
        return INTERRUPTED
    if status.state.final:
        output.say(f"\n{status.describe()}", err=True)
        return INTERRUPTED
    return interrupted(job, kill, grace)


def look_for(job: Job[RemoteQueue]) -> JobStatus | None:
    """Return the job's status, or None if the job does not exist.

    The status is requested several times, because the interrupted submission may still
    be completed on the server.
    """
    for _ in range(LOOKS):
        try:
            found = job.queue.statuses([job.id])[job.id]
        except errors.QueueDoesntExist:
            found = None
        if found is not None:
            return found
        time.sleep(0.5)
    return None


def interrupted(job: Job[RemoteQueue], kill: bool, grace: int) -> int:
    """Handle Ctrl-C: kill the job, or print the commands to continue with the job.

    Returns the exit status of the command.
    """
    if kill:
        output.say(f"\nKilling job '{job.id}' ...", err=True)
        output.say_line(job.kill(grace=grace).describe(), err=True)
        return INTERRUPTED
    destination = job.queue.destination_string
    words = shlex.join([destination, *queue_option(job), "--id", job.id])
    output.say(
        f"\nJob '{job.id}' is left as it is.\n"
        f"  Its output:  tej logs -f {words}\n"
        f"  Its end:     tej wait {words}\n"
        f"  To end it:   tej kill {words}",
        err=True,
    )
    return INTERRUPTED


def queue_option(job: Job[RemoteQueue]) -> list[str]:
    """Return the option --queue for other commands on this job, if it is needed."""
    path = str(job.queue.queue)
    usual = path == DEFAULT_TEJ_DIR and "TEJ_QUEUE" not in os.environ
    return [] if usual else ["--queue", path]


def fetch(
    job: Job[RemoteQueue], patterns: tuple[str, ...], target: str
) -> tuple[list[str], errors.DownloadFailed | None]:
    """Download the results; return the local paths, and the first error or None.

    If a file is missing, the other files are still downloaded.
    """

    def get(*names: str) -> list[str]:
        with output.TransferBar(f"Downloading {', '.join(names)}") as bar:
            return [*map(str, job.download(names, directory=target, progress=bar))]

    if len(patterns) > 1:
        with contextlib.suppress(errors.DownloadFailed):
            return get(*patterns), None
    written: list[str] = []
    failure: errors.DownloadFailed | None = None
    for pattern in patterns:
        try:
            written += get(pattern)
        except errors.DownloadFailed as error:
            output.say(str(error), err=True)
            failure = failure or error
    return written, failure
