"""The commands that stay with a job: run, wait, logs; and download."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import time
from pathlib import Path
from typing import BinaryIO

import click

from tej import errors
from tej.cli import output
from tej.cli.exit_status import INTERRUPTED, TEJ_FAILED, exit_status, of_job
from tej.cli.options import (
    environment,
    grace,
    job_id,
    job_ids,
    job_labels,
    on_queue,
    parse_pairs,
    resources,
    runtime,
    script,
    seconds,
)
from tej.cli.submitting import size_of
from tej.job.directory import scan
from tej.job.resources import Resources
from tej.job.signature import make_id, signature
from tej.job.status import JobState, JobStatus
from tej.queue import DEFAULT_TEJ_DIR, Job, RemoteQueue
from tej.queue.base import no_job
from tej.queue.logs import STREAMS, Piece

LOOKS = 4
"""How often a job is looked for whose submission was interrupted."""


@click.command()
@on_queue("directory")
@runtime
@click.option("--id", "id_", metavar="ID", help="Identifier, instead of the signature.")
@script
@environment
@resources
@job_labels
@click.option(
    "--download",
    "patterns",
    multiple=True,
    metavar="PATTERN",
    help="File, directory or pattern to fetch at the end; may be repeated.",
)
@click.option(
    "--directory", "target", default=".", metavar="DIR", help="Where they go."
)
@click.option("--retry", is_flag=True, help="Start it again if it had failed.")
@click.option("-q", "--quiet", is_flag=True, help="Do not show the job's output.")
@click.option(
    "--kill-on-interrupt", is_flag=True, help="Ctrl-C kills the job; else it goes on."
)
@grace
def run(
    queue: RemoteQueue,
    directory: str,
    id_: str | None,
    script: str | None,
    variables: tuple[str, ...],
    labels: tuple[str, ...],
    resources: Resources,
    login: bool,
    patterns: tuple[str, ...],
    target: str,
    retry: bool,
    quiet: bool,
    kill_on_interrupt: bool,
    grace: int,
    as_json: bool,
) -> int:
    """Run a directory as a job, show its output, fetch its results.

    The same work is the same job: if it runs already its output is shown from the
    beginning, and if it is done its results are fetched, from any machine.  Ends with
    the job's own exit code, or with 125 if tej itself failed.
    """

    environment = parse_pairs(variables, "variable")
    bar = output.TransferBar("Uploading", size_of(directory))
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
                progress=bar,
            )
    except KeyboardInterrupt:
        if not bar.done:
            click.echo("\nNothing was started", err=True)
            return INTERRUPTED
        sent = id_ or make_id(signature(directory, script, environment))
        return interrupted_while_sent(queue.job(sent), kill_on_interrupt, grace)
    click.echo(f"Job {'submitted as' if job.is_new else 'found'}: {job.id}", err=True)
    try:
        tell_of_delay(job.status_then)
        status = follow(queue, job.id, show=not (quiet or as_json))
    except KeyboardInterrupt:
        return interrupted(job, kill_on_interrupt, grace)
    click.echo(status.describe(), err=True)
    if not (job.is_new or status.succeeded or retry):
        click.echo("It was found as it is; --retry starts it again", err=True)
    written, error = fetch(job, patterns, target)
    warn_of_own_results(written, Path(directory).resolve())
    if as_json:
        more = {"is_new": job.is_new, "files": written}
        output.print_json(output.as_document(job.id, status, error, more))
    return of_job(status) or (0 if error is None else TEJ_FAILED)


def warn_of_own_results(written: list[str], directory: Path) -> None:
    """Those that became a part of what is sent, and of its signature."""
    results = {Path(name).resolve() for name in written}
    if not any(one.is_relative_to(directory) for one in results):
        return
    if any(entry.source in results for entry in scan(directory)):
        click.echo(
            "Results in the job's own directory make it another job next time: "
            "give --directory, or name them in .tejignore",
            err=True,
        )


def tell_of_delay(status: JobStatus | None) -> None:
    """Why nothing is to be seen yet."""
    if status is not None and status.state in (JobState.CREATED, JobState.QUEUED):
        click.echo(status.describe(), err=True)


def follow(queue: RemoteQueue, job_id: str, *, show: bool) -> JobStatus:
    """Both outputs to where they belong, until the job has ended."""
    logs = queue.read_logs(job_id, STREAMS if show else (), follow=True)
    logs.read(write_piece)
    if logs.status is not None and logs.status.state.final:
        return logs.status
    return queue.job(job_id).wait()


def write_piece(piece: Piece) -> None:
    """A piece of the job's stdout or of a file to stdout, of its stderr to stderr."""
    stream: BinaryIO = sys.stdout.buffer
    if piece.name == STREAMS["stderr"]:
        stream = sys.stderr.buffer
    stream.write(piece.data)
    stream.flush()


def interrupted_while_sent(job: Job, kill: bool, grace: int) -> int:
    """Ctrl-C before it was known whether there is a job."""
    try:
        status = look_for(job)
    except errors.ConnectionFailed as error:
        click.echo(f"\nWhether it was started cannot be told: {error}", err=True)
        return interrupted(job, False, grace)
    if status is None:
        click.echo(f"\nJob '{job.id}' was not started", err=True)
        return INTERRUPTED
    if status.state.final:
        click.echo(f"\n{status.describe()}", err=True)
        return INTERRUPTED
    return interrupted(job, kill, grace)


def interrupted(job: Job, kill: bool, grace: int) -> int:
    """Ctrl-C: the job's end, or how to come back; for that nobody has to be asked."""
    if kill:
        click.echo(f"\nKilling job '{job.id}' ...", err=True)
        click.echo(job.kill(grace=grace).describe(), err=True)
        return INTERRUPTED
    destination = job.queue.destination_string
    place = shlex.join([destination, *queue_option(job), "--id", job.id])
    click.echo(
        f"\nJob '{job.id}' is left as it is.\n"
        f"  Its output:  tej logs -f {place}\n"
        f"  Its end:     tej wait {place}\n"
        f"  To end it:   tej kill {place}",
        err=True,
    )
    return INTERRUPTED


def look_for(job: Job) -> JobStatus | None:
    """The job's status, None if there is no such job: one whose submission was just
    broken off may yet be started by what had arrived."""
    for _ in range(LOOKS):
        try:
            found = job.queue.statuses([job.id])[job.id]
        except errors.QueueDoesntExist:
            found = None
        if found is not None:
            return found
        time.sleep(0.5)
    return None


def queue_option(job: Job) -> list[str]:
    """What a command needs to find the job's queue, if it is not the usual one."""
    path = str(job.queue.queue)
    usual = path == DEFAULT_TEJ_DIR and "TEJ_QUEUE" not in os.environ
    return [] if usual else ["--queue", path]


def fetch(
    job: Job, patterns: tuple[str, ...], target: str
) -> tuple[list[str], errors.DownloadFailed | None]:
    """The results, and what was wrong if not all could be had: one that is missing
    keeps no other back."""

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
            click.echo(str(error), err=True)
            failure = failure or error
    return written, failure


@click.command()
@on_queue()
@job_ids
@click.option("--timeout", type=seconds, metavar="SECONDS", help="Give up after that.")
def wait(
    queue: RemoteQueue, ids: tuple[str, ...], timeout: float | None, as_json: bool
) -> int:
    """Wait until jobs have ended.

    Ends with the job's own exit code (of several: the first that is not 0), or with 125
    if tej itself failed or the time is over.
    """

    # Waiting is patient; what cannot be reached or is not there is said at once.
    for one, found in queue.statuses(ids).items():
        if found is None:
            raise no_job(one)
    ended: dict[str, JobStatus] = {}
    late: errors.WaitTimeout | None = None
    try:
        for ended_id, status in queue.as_completed(ids, timeout):
            ended[ended_id] = status
            if not as_json:
                click.echo(output.prefix(ids, ended_id) + status.describe())
    except errors.WaitTimeout as error:
        late = error
    if as_json:
        jobs = [output.as_document(one, status, None) for one, status in ended.items()]
        why = {} if late is None else {"error": output.error_of(late)}
        output.print_json({"jobs": jobs, **why})
    if late is not None:
        click.echo(str(late), err=True)
        return TEJ_FAILED
    codes = [of_job(ended[one]) for one in dict.fromkeys(ids)]
    return next((code for code in codes if code), 0)


@click.command()
@on_queue()
@job_id
@click.option("-f", "--follow", "follow_", is_flag=True, help="Until the job ends.")
@click.option("--stdout", "wanted", flag_value="stdout", help="That alone.")
@click.option("--stderr", "wanted", flag_value="stderr", help="That alone, to stdout.")
@click.option("--file", "name", metavar="NAME", help="A file of the job instead.")
@click.option("--tail", type=click.IntRange(0), metavar="N", help="The last N lines.")
def logs(
    queue: RemoteQueue,
    id_: str,
    follow_: bool,
    wanted: str | None,
    name: str | None,
    tail: int | None,
    as_json: bool,
) -> None:
    """Show the output of a job, running or not.

    Both its outputs are shown as they come, stderr on stderr.
    """
    streams = [name] if name else [wanted] if wanted else list(STREAMS)
    reader = queue.read_logs(id_, streams, follow=follow_, tail=tail)
    if as_json:
        contents: dict[str, bytes] = dict.fromkeys(reader.positions, b"")

        def keep(piece: Piece) -> None:
            contents[piece.name] += piece.data

        reader.read(keep)
        texts = {
            file: data.decode("utf-8", "replace") for file, data in contents.items()
        }
        output.print_json({"id": id_, "files": texts})
    elif len(streams) == 1:
        reader.read(lambda piece: write_piece(Piece("", piece.data)))
    else:
        reader.read(write_piece)


@click.command()
@on_queue("files...")
@job_ids
@click.option(
    "--directory",
    default=".",
    show_default=True,
    metavar="DIR",
    help="Where the files go, each under its path in the job; those of several jobs "
    "to DIR/ID.",
)
@click.option("--flatten", is_flag=True, help="Leave the directories of the path out.")
def download(
    queue: RemoteQueue,
    files: list[str],
    ids: tuple[str, ...],
    directory: str,
    flatten: bool,
    as_json: bool,
) -> int:
    """Download files, directories or patterns ('plots/*.png') from jobs."""
    if len(set(ids)) > 1:
        return download_many(queue, files, ids, directory, flatten, as_json)
    with output.TransferBar("Downloading") as bar:
        written = queue.download(
            ids[0], files, directory=directory, flatten=flatten, progress=bar
        )
    if as_json:
        output.print_json({"id": ids[0], "files": [*map(os.fspath, written)]})
    return 0


def download_many(
    queue: RemoteQueue,
    files: list[str],
    ids: tuple[str, ...],
    directory: str,
    flatten: bool,
    as_json: bool,
) -> int:
    """Of several jobs, each to a directory of its own; the worst exit status."""
    with output.TransferBar("Downloading") as bar:
        outcomes = queue.download_many(
            ids, files, directory=directory, flatten=flatten, progress=bar
        )
    documents = []
    for id_, outcome in outcomes.items():
        paths = [*map(os.fspath, outcome.files)]
        more = {"files": paths}
        documents.append(output.as_document(id_, None, outcome.error, more))
        if outcome.error is not None and not as_json:
            click.echo(f"{id_}: {outcome.error}", err=True)
    if as_json:
        output.print_json({"jobs": documents})
    failed = [one.error for one in outcomes.values() if one.error is not None]
    return max(map(exit_status, failed), default=0)


ALL = [run, wait, logs, download]
