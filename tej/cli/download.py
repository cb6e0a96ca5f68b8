"""`tej download`: download files of jobs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import click

from tej.cli import output
from tej.cli.command import queue_command
from tej.cli.download_directories import make_folders
from tej.cli.exit_status import exit_status
from tej.cli.job_selection import SelectedJobs, job_selection
from tej.cli.progress_bar import TransferBar
from tej.job.status import JobStatus
from tej.queue.remote import RemoteQueue


@queue_command(
    "download", "[files...]", example="tej download train-1 'plots/*.png' notes.txt"
)
@job_selection(latest=True, before_files=True, all_with="skip_failed")
@click.option(
    "--skip-failed",
    is_flag=True,
    help="Skip the jobs that did not succeed, and print their ids.",
)
@click.option(
    "--directory",
    default=".",
    show_default=True,
    type=click.Path(file_okay=False, readable=False),
    metavar="DIR",
    help="Directory for the files; for several jobs, DIR/ID.",
)
@click.option(
    "--into",
    metavar="TEMPLATE",
    help="Directory for each job's files, such as 'out/{SEED}', from its parameters, "
    "labels, {id} and {name}.",
)
@click.option(
    "--flatten",
    is_flag=True,
    help="Write each file under its name only, without its path.",
)
def command(
    queue: RemoteQueue,
    files: list[str],
    jobs: SelectedJobs,
    skip_failed: bool,
    directory: str,
    into: str | None,
    flatten: bool,
    as_json: bool,
) -> int:
    """Download files and directories of jobs, running or not.

    The first argument is the job, unless an option selects the jobs.  Without files,
    the `results` of the profile are downloaded.  If neither a job nor files are given,
    the latest job of this project is used.  Quote patterns: 'plots/*.png' is expanded
    on the server.
    """
    if into is not None and directory != ".":
        raise click.UsageError("--into cannot be combined with --directory")
    ids = list(dict.fromkeys(jobs.ids))
    known: Mapping[str, JobStatus] = {}
    if skip_failed or into is not None:
        found = jobs.statuses or queue.statuses(ids)
        known = {one: find(queue, found, one) for one in ids}
    skipped = [one for one in known if skip_failed and not known[one].succeeded]
    ids = [one for one in ids if one not in skipped]
    if not as_json:
        print_skipped([known[one] for one in skipped], len(ids))
    folder: str | Mapping[str, str] = directory
    if into is not None:
        folder = make_folders(into, {one: known[one] for one in ids})
    if into is not None or skip_failed or len(ids) > 1 or jobs.by_filter:
        return download_many(queue, files, ids, folder, flatten, as_json, skipped)
    with TransferBar("Downloading") as bar:
        written = queue.download(
            ids[0], files, directory=directory, flatten=flatten, progress=bar
        )
    queue.note_downloaded(ids)
    if as_json:
        output.print_json({"id": ids[0], "files": [*map(os.fspath, written)]})
    else:
        print_written(written)
    return 0


def print_written(paths: Sequence[Path]) -> None:
    """Print how many files were downloaded, and the directory of the files."""
    if not sys.stderr.isatty():
        return
    where = str(paths[0]) if len(paths) == 1 else f"{len(paths)} files"
    if len(paths) > 1:
        where += f" to {os.path.commonpath([path.parent for path in paths]) or '.'}"
    output.say_line(f"Downloaded {where}", err=True)


def print_skipped(jobs: Sequence[JobStatus], others: int) -> None:
    """Print the skipped jobs; `others` is the number of jobs that are downloaded."""
    for job in jobs:
        name = output.title(job.job_id, job)
        output.say_line(f"{name} skipped: {job.describe()}", err=True)
    if jobs:
        output.say(f"{len(jobs)} of {len(jobs) + others} jobs skipped", err=True)


def find(
    queue: RemoteQueue, known: Mapping[str, JobStatus | None], job_id: str
) -> JobStatus:
    """Return the status of a job; raise JobNotFound if the job does not exist."""
    status = known[job_id]
    if status is None:
        raise queue.connection.job_not_found(job_id)
    return status


def download_many(
    queue: RemoteQueue,
    files: list[str],
    ids: Sequence[str],
    directory: str | Mapping[str, str],
    flatten: bool,
    as_json: bool,
    skipped: Iterable[str],
) -> int:
    """Download files from several jobs; return the highest exit status of an error."""
    with TransferBar("Downloading") as bar:
        outcomes = queue.download_many(
            ids, files, directory=directory, flatten=flatten, progress=bar
        )
    complete = [one for one, outcome in outcomes.items() if outcome.error is None]
    queue.note_downloaded(complete)
    documents = []
    for id_, outcome in outcomes.items():
        files_written = [*map(os.fspath, outcome.files)]
        more = {"files": files_written, "skipped": False}
        documents.append(output.as_document(id_, None, outcome.error, more))
        if outcome.error is not None and not as_json:
            output.say(f"{id_}: {outcome.error}", err=True)
    for id_ in skipped:
        more = {"files": [], "skipped": True}
        documents.append(output.as_document(id_, None, None, more))
    if as_json:
        output.print_json({"jobs": documents})
    else:
        print_written([path for one in outcomes.values() for path in one.files])
    failed = [one.error for one in outcomes.values() if one.error is not None]
    return max(map(exit_status, failed), default=0)
