"""`tej run`: run a job, print its output, and download its results."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import click

from tej import errors
from tej.cli import output
from tej.cli.command import queue_command
from tej.cli.common_options import grace, runtime
from tej.cli.dry_run import dry_run_option, print_plan
from tej.cli.exit_status import INTERRUPTED, TEJ_FAILED, of_job
from tej.cli.interrupt import interrupted, interrupted_while_sent
from tej.cli.job_options import job_options, submission_arguments
from tej.cli.profile import current_profile
from tej.cli.progress_bar import TransferBar, size_of
from tej.cli.submit import print_submitted
from tej.job.directory import scan
from tej.job.spec import JobSpec
from tej.job.status import JobState, JobStatus
from tej.job.stderr_hints import find_hint
from tej.queue.dry_run import read_job
from tej.queue.job import Job
from tej.queue.job_failure import FAILURE_BYTES
from tej.queue.logs import STREAMS, Piece
from tej.queue.remote import RemoteQueue


@queue_command(
    "run",
    "[directory]",
    example="tej run lab simulation/ --download 'results/*.csv'\n"
    "  tej run . -- python3 train.py --lr 0.1",
    takes_command=True,
)
@click.option(
    "--id", "id_", metavar="ID", help="Id of the job.  [default: the signature]"
)
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
    type=click.Path(file_okay=False, readable=False),
    metavar="DIR",
    help="Write the fetched files to DIR.",
)
@click.option("--retry", is_flag=True, help="Restart the job if it has failed.")
@click.option(
    "--again", is_flag=True, help="Start a new job, even if one for this work exists."
)
@click.option(
    "-d", "--detach", is_flag=True, help="Print the id; do not wait, and fetch nothing."
)
@dry_run_option
@click.option("-q", "--quiet", is_flag=True, help="Do not print the job's output.")
@click.option(
    "--kill-on-interrupt", is_flag=True, help="Ctrl-C kills the job.  [default: no]"
)
@grace
@job_options
def command(
    queue: RemoteQueue,
    spec: JobSpec,
    patterns: tuple[str, ...],
    target: str,
    retry: bool,
    again: bool,
    detach: bool,
    dry_run: bool,
    quiet: bool,
    kill_on_interrupt: bool,
    grace: int,
    as_json: bool,
) -> int:
    """Run a directory as a job, print its output, fetch its results.

    If a job for the same work exists, it is not started again, even if another machine
    has started it: a running job is followed from the beginning, and the results of a
    finished job are fetched.  The default directory is the current one.  The exit
    status is the job's exit code, 124 if the job exceeded a limit, and 125 if tej
    itself failed or the job is lost.
    """
    if retry and again:
        raise click.UsageError("--retry cannot be combined with --again")
    if dry_run:
        print_plan(queue, spec, is_signed=True, as_json=as_json)
        return 0
    bar = TransferBar("Uploading", size_of(spec))
    if again:
        spec = replace(spec, job_id=free_id(queue, spec))
    try:
        with bar:
            job = queue.ensure(
                spec.directory,
                job_id=spec.job_id,
                retry=retry,
                progress=bar,
                **submission_arguments(spec),
            )
    except KeyboardInterrupt:
        if not bar.done:
            output.say("\nNothing was started", err=True)
            return INTERRUPTED
        sent = queue.job(id_of(queue, spec))
        return interrupted_while_sent(sent, kill_on_interrupt, grace)
    if detach:
        print_submitted(job.id, job.is_new, as_json=as_json)
        return 0
    output.say(f"Job {'submitted as' if job.is_new else 'found'}: {job.id}", err=True)
    try:
        print_delay(job.status_then)
        status = follow(job, show=not (quiet or as_json))
    except KeyboardInterrupt:
        return interrupted(job, kill_on_interrupt, grace)
    output.say_line(status.describe(), err=True)
    if not (job.is_new or status.succeeded or retry):
        output.say("The job was started earlier; --retry restarts it", err=True)
    wanted = patterns or current_profile().get("results") or ()
    written, error = fetch(job, wanted, target)
    if wanted and error is None:
        queue.note_downloaded([job.id])
    warn_of_own_results(written, spec)
    if as_json:
        more = {"is_new": job.is_new, "files": written}
        output.print_json(output.as_document(job.id, status, error, more))
    return of_job(status) or (0 if error is None else TEJ_FAILED)


def id_of(queue: RemoteQueue, spec: JobSpec) -> str:
    """Return the id of a job: the given id, or the id made from the signature."""
    if spec.job_id is not None:
        return spec.job_id
    return read_job(queue.connection, spec, is_signed=True).job_id


def free_id(queue: RemoteQueue, spec: JobSpec) -> str:
    """Return an unused id for another run: the job's own id, or ID-2, ID-3, and so on.

    If another client uses the id first, both clients follow the same job, because the
    signatures are equal.
    """
    first = id_of(queue, spec)
    try:
        taken = {job.job_id for job in queue.jobs()}
    except errors.QueueNotFound:
        return first
    number = 1
    while (job_id := first if number == 1 else f"{first}-{number}") in taken:
        number += 1
    return job_id


def print_delay(status: JobStatus | None) -> None:
    """Print why the job has no output yet, if the job has not started."""
    if status is not None and status.state in (JobState.CREATED, JobState.QUEUED):
        output.say_line(status.describe(), err=True)


def follow(job: Job[RemoteQueue], *, show: bool) -> JobStatus:
    """Print stdout and stderr of the job until the job has ended; return its status."""
    logs = job.queue.read_logs(job.id, STREAMS if show else (), follow=True)
    end = bytearray()

    def write(piece: Piece) -> None:
        output.write_piece(piece)
        if piece.name == STREAMS["stderr"]:
            end.extend(piece.data)
            del end[:-FAILURE_BYTES]

    logs.read(write)
    status = logs.status
    if status is None or not status.state.final:
        status = job.wait()
    hint = None if status.succeeded else find_hint(end.decode("utf-8", "replace"))
    if hint is not None:
        output.say_line(f"Hint: {hint}", err=True)
    return status


def warn_of_own_results(written: list[str], spec: JobSpec) -> None:
    """Print a warning if downloaded results change the signature of the job."""
    directory = Path(spec.directory).resolve()
    results = {Path(name).resolve() for name in written}
    if not any(one.is_relative_to(directory) for one in results):
        return
    entries = scan(directory, everything=spec.everything, ignore=spec.ignore)
    if any(entry.source in results for entry in entries):
        output.say(
            "Results in the job's own directory change its signature: write results "
            "elsewhere with --directory, or list them in .tejignore or under `ignore` "
            "in the profile",
            err=True,
        )


def fetch(
    job: Job[RemoteQueue], patterns: tuple[str, ...], target: str
) -> tuple[list[str], errors.DownloadFailed | None]:
    """Download the results; return the local paths, and the first error or None.

    If a file is missing, the other files are still downloaded.
    """

    def get(*names: str) -> list[str]:
        with TransferBar(f"Downloading {', '.join(names)}") as bar:
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
