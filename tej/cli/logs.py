"""`tej logs`: print the output of jobs."""

from __future__ import annotations

import codecs
import contextlib
import json
import tempfile
from collections.abc import Callable, Iterator
from typing import IO

import click

from tej import errors
from tej.cli import output
from tej.cli.command import queue_command
from tej.cli.exit_status import exit_status
from tej.cli.job_selection import SelectedJobs, job_selection
from tej.queue.logs import STREAMS, Logs, Piece
from tej.queue.remote import RemoteQueue

CHUNK = 1 << 16
"""Number of bytes of a job's output that are read at a time."""


@queue_command("logs", "[jobs...]", example="tej logs -f train-1")
@job_selection(latest=True)
@click.option("-f", "--follow", is_flag=True, help="Continue until the job has ended.")
@click.option("--stdout", "wanted", flag_value="stdout", help="Print stdout only.")
@click.option(
    "--stderr", "wanted", flag_value="stderr", help="Print stderr only, to stdout."
)
@click.option(
    "--file",
    "name",
    metavar="NAME",
    help="Print a file of the job instead of its output.",
)
@click.option(
    "--scheduler",
    is_flag=True,
    help="Print the scheduler's messages and accounting entry, and the reason if the "
    "scheduler ended the job.",
)
@click.option(
    "--on-end", is_flag=True, help="Print the output of the job's --on-end command."
)
@click.option(
    "-n",
    "--tail",
    type=click.IntRange(0),
    metavar="N",
    help="Start with the last N lines.",
)
def command(
    queue: RemoteQueue,
    jobs: SelectedJobs,
    follow: bool,
    wanted: str | None,
    name: str | None,
    scheduler: bool,
    on_end: bool,
    tail: int | None,
    as_json: bool,
) -> int:
    """Print the output of jobs; without a job, of the latest job of this project.

    The job's stdout is copied to stdout, and the job's stderr to stderr, unchanged.
    Several jobs are printed one after the other, each after a line with its id on
    stderr.
    """
    has_others = bool(follow or wanted or name or tail is not None)
    if (scheduler and on_end) or (has_others and (scheduler or on_end)):
        given = "--scheduler" if scheduler else "--on-end"
        raise click.UsageError(f"{given} cannot be combined with other options")
    if scheduler:
        empty = "The scheduler has no messages about job"
        return print_texts(queue.scheduler_log, jobs, "scheduler", empty, as_json)
    if on_end:
        empty = "The --on-end command has printed nothing yet for job"
        return print_texts(queue.on_end_log, jobs, "on_end", empty, as_json)
    streams = [name] if name else [wanted] if wanted else list(STREAMS)
    each = list(dict.fromkeys(jobs.ids))
    readers = {
        one: queue.read_logs(one, streams, follow=follow, tail=tail) for one in each
    }
    if len(each) == 1 and not jobs.by_filter:
        if jobs.was_searched and not as_json:
            print_head(each[0], jobs)
        if as_json:
            print_json(each[0], readers[each[0]])
        else:
            print_output(readers[each[0]])
        return 0
    return print_several(readers, jobs, as_json)


def print_head(job_id: str, jobs: SelectedJobs) -> None:
    """Print a line with the job's id to stderr, as a heading of the job's output."""
    name = output.title(job_id, jobs.statuses.get(job_id))
    output.say_line(f"==> {name} <==", err=True)


def print_several(readers: dict[str, Logs], jobs: SelectedJobs, as_json: bool) -> int:
    """Print the output of several jobs; return the highest exit status of an error."""
    worst = 0
    if as_json:
        click.echo('{"jobs": [')
    for number, (job_id, reader) in enumerate(readers.items()):
        try:
            if as_json:
                click.echo("," if number else "", nl=False)
                print_json(job_id, reader, several=True)
            else:
                print_head(job_id, jobs)
                print_output(reader)
        except errors.JobNotFound as error:
            worst = max(worst, exit_status(error))
            if as_json:
                document = output.as_document(job_id, None, error, {"files": None})
                click.echo(json.dumps(document))
            else:
                output.say(str(error), err=True)
    if as_json:
        click.echo("]}")
    return worst


def print_texts(
    fetch: Callable[[str], bytes],
    jobs: SelectedJobs,
    key: str,
    empty: str,
    as_json: bool,
) -> int:
    """Print one log of each job; return an exit status.

    `fetch` returns the log of a job, `key` is the key of the log in JSON, and `empty`
    is the message for a job with an empty log.  The exit status is 0 if all logs were
    read, or else the highest exit status of an error.
    """
    ids = list(dict.fromkeys(jobs.ids))
    several = len(ids) > 1 or jobs.by_filter
    documents: list[dict[str, object]] = []
    worst = 0
    for job_id in ids:
        try:
            text = fetch(job_id).decode("utf-8", "replace").rstrip("\n")
        except (errors.JobNotFound, errors.DownloadFailed) as error:
            if not several:
                raise
            worst = max(worst, exit_status(error))
            more: dict[str, object] = {key: None}
            documents.append(output.as_document(job_id, None, error, more))
            words, is_error = str(error), True
        else:
            more = {key: text}
            documents.append(output.as_document(job_id, None, None, more))
            is_error = not text
            words = text or f"{empty} '{job_id}'"
        if not as_json:
            if several or jobs.was_searched:
                print_head(job_id, jobs)
            output.say(words, err=is_error)
    if as_json:
        one = {name: documents[0][name] for name in ("id", key)}
        output.print_json({"jobs": documents} if several else one)
    return worst


def print_output(reader: Logs) -> None:
    """Copy the output of a job to stdout and stderr.

    If only one file is requested, the file is copied to stdout, even if it is the job's
    stderr.
    """
    if len(reader.positions) == 1:
        reader.read(lambda piece: output.write_piece(Piece("", piece.data)))
    else:
        reader.read(output.write_piece)


def print_json(job_id: str, reader: Logs, *, several: bool = False) -> None:
    """Print the output of a job as JSON, in constant memory.

    The pieces of several files arrive alternately, but in JSON the content of each file
    must be complete before the next file.  Each file is therefore written to a
    temporary file first.
    """
    with contextlib.ExitStack() as stack:
        files: dict[str, IO[bytes]] = {
            name: stack.enter_context(tempfile.TemporaryFile())
            for name in reader.positions
        }
        reader.read(lambda piece: files[piece.name].write(piece.data))
        click.echo(f'{{"id": {json.dumps(job_id)}, "files": {{', nl=False)
        for number, (name, file) in enumerate(files.items()):
            comma = ", " if number else ""
            click.echo(f'{comma}{json.dumps(name)}: "', nl=False)
            file.seek(0)
            for text in decoded(file):
                click.echo(json.dumps(text)[1:-1], nl=False)
            click.echo('"', nl=False)
        click.echo('}, "error": null}' if several else "}}")


def decoded(file: IO[bytes]) -> Iterator[str]:
    """Yield the text of a file in pieces, with invalid UTF-8 replaced."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    while data := file.read(CHUNK):
        yield decoder.decode(data)
    yield decoder.decode(b"", final=True)
