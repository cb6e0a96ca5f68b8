"""One command a verb: the queue, one call, and what to say of it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from tej import errors
from tej.cli import output
from tej.cli.options import grace, job_id, job_ids, on_queue, runtime
from tej.job import JobStatus
from tej.job_directory import scan
from tej.queue import DEFAULT_TEJ_DIR, RemoteQueue
from tej.queue.remote import check_killed, no_job


@click.command()
@on_queue()
@runtime
@click.option(
    "--make-link", "links", multiple=True, metavar="PATH", help="Make a link there."
)
@click.option(
    "--make-default-link",
    is_flag=True,
    help=f"Make a link at {DEFAULT_TEJ_DIR}, where the other commands look.",
)
@click.option("--only-links", is_flag=True, help="Make the links, and no queue.")
@click.option(
    "--force",
    count=True,
    help="Replace a link or an empty queue; twice: also one with jobs, if all ended.",
)
def setup(
    queue: RemoteQueue,
    links: tuple[str, ...],
    make_default_link: bool,
    only_links: bool,
    force: int,
    as_json: bool,
) -> None:
    """Set tej up on a server (optional: the first submission does)."""
    wanted = [*links, *([DEFAULT_TEJ_DIR] if make_default_link else [])]
    path = queue.setup(wanted, force, only_links)
    if as_json:
        output.print_json({"queue": str(path), "links": wanted})


@click.command()
@on_queue("directory")
@runtime
@click.option("--id", "id_", metavar="ID", help="Identifier for the new job.")
@click.option(
    "--script",
    metavar="FILE|COMMAND",
    help="File in the directory that is run, or a command.  [default: start.sh]",
)
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Noted.")
def submit(
    queue: RemoteQueue,
    directory: str,
    id_: str | None,
    script: str | None,
    labels: tuple[str, ...],
    as_json: bool,
) -> None:
    """Send a directory to a server and start it as a job."""
    with output.TransferBar("Uploading", size_of(directory)) as bar:
        new_id = queue.submit(
            id_, directory, script, labels=parse_labels(labels), progress=bar
        )
    if as_json:
        output.print_json({"id": new_id})
    else:
        click.echo("Job submitted as:", err=True)
        click.echo(new_id)


def size_of(directory: str) -> int | None:
    """Bytes that a bar can count to; what is wrong is said by the submission."""
    try:
        return sum(entry.stat.st_size for entry in scan(Path(directory)))
    except (errors.Error, OSError):
        return None


def parse_labels(words: Iterable[str]) -> dict[str, str]:
    """KEY=VALUE words as a dictionary."""
    labels = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not key or not equals:
            raise click.UsageError(f"A label is KEY=VALUE, and not '{word}'")
        labels[key] = value
    return labels


@click.command()
@on_queue()
@job_ids
def status(queue: RemoteQueue, ids: tuple[str, ...], as_json: bool) -> int:
    """Get the status of jobs."""
    found = queue.statuses(ids)
    if as_json:
        documents = [
            as_document(job_id, job, no_job(job_id) if job is None else None)
            for job_id, job in found.items()
        ]
        output.print_json({"jobs": documents})
    else:
        for job_id, job in found.items():
            if job is None:
                click.echo(str(no_job(job_id)), err=True)
            else:
                click.echo(prefix(ids, job_id) + job.describe())
    return 3 if None in found.values() else 0


def as_document(
    job_id: str, job: JobStatus | None, error: errors.Error | None, **more: Any
) -> dict[str, Any]:
    """A job in JSON, with the error that concerns it alone, or null."""
    document: dict[str, Any] = {"id": job_id} if job is None else job.as_dict()
    document.update(more)
    document["error"] = error and output.error_as_dict(type(error).__name__, str(error))
    return document


def prefix(ids: tuple[str, ...], job_id: str) -> str:
    """Which job a line is about, if there are several."""
    return f"{job_id}: " if len(ids) > 1 else ""


@click.command()
@on_queue("files...")
@job_id
@click.option(
    "--directory",
    default=".",
    show_default=True,
    metavar="DIR",
    help="Where the files go, each under its path in the job.",
)
@click.option("--flatten", is_flag=True, help="Leave the directories of the path out.")
def download(
    queue: RemoteQueue,
    files: list[str],
    id_: str,
    directory: str,
    flatten: bool,
    as_json: bool,
) -> None:
    """Download files, directories or patterns ('plots/*.png') from a job."""
    with output.TransferBar("Downloading") as bar:
        written = queue.download(
            id_, files, directory=directory, flatten=flatten, progress=bar
        )
    if as_json:
        output.print_json({"id": id_, "files": [os.fspath(path) for path in written]})


@click.command()
@on_queue()
@job_ids
@grace
def kill(queue: RemoteQueue, ids: tuple[str, ...], grace: int, as_json: bool) -> int:
    """Kill running jobs, with all of their processes."""
    worst = 0
    documents = []
    for job_id, outcome in queue.kill_many(ids, grace=grace).items():
        error: errors.Error | None = None
        if outcome is None:
            error, words = no_job(job_id), ""
            documents.append(as_document(job_id, None, error))
        else:
            words = f"Job '{job_id}' killed"
            if outcome.was.final:
                words = f"Job '{job_id}' has already completed"
            try:
                check_killed(outcome.status)
            except errors.JobStillRunning as still:
                error = still
            documents.append(
                as_document(job_id, outcome.status, error, was=outcome.was.value)
            )
        worst = max(worst, say(words, error, as_json))
    if as_json:
        output.print_json({"jobs": documents})
    return worst


def say(words: str, error: errors.Error | None, as_json: bool) -> int:
    """One job's outcome in words; returns its exit status."""
    from tej.cli.main import exit_status

    if not as_json:
        click.echo(words if error is None else str(error), err=error is not None)
    return 0 if error is None else exit_status(error)


@click.command()
@on_queue()
@job_ids
def delete(queue: RemoteQueue, ids: tuple[str, ...], as_json: bool) -> int:
    """Delete finished jobs, with their files."""
    worst = 0
    documents = []
    for job_id, error in queue.delete_many(ids).items():
        worst = max(worst, say(f"Deleted job '{job_id}'", error, as_json))
        documents.append(as_document(job_id, None, error, deleted=error is None))
    if as_json:
        output.print_json({"jobs": documents})
    return worst


@click.command("list")
@on_queue()
def list_(queue: RemoteQueue, as_json: bool) -> None:
    """List the jobs in the queue."""
    jobs = queue.jobs()
    if as_json:
        output.print_json({"jobs": [as_document(job.job_id, job, None) for job in jobs]})
    else:
        output.print_list(jobs)


@click.command()
@on_queue()
@click.option("--kill", is_flag=True, help="Kill the jobs that are still running.")
@grace
def cleanup(queue: RemoteQueue, kill: bool, grace: int, as_json: bool) -> None:
    """Remove the queue with all its jobs, and the links that led to it."""
    queue.cleanup(kill, grace=grace)
    if as_json:
        output.print_json({"queue": str(queue.queue), "removed": True})


ALL = [setup, submit, status, download, kill, delete, list_, cleanup]
