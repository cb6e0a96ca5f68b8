"""The commands for jobs that are there: status, list, kill, delete, cleanup."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click

from tej import errors
from tej.cli import output
from tej.cli.exit_status import exit_status
from tej.cli.options import (
    duration,
    grace,
    job_ids,
    label_filter,
    moment,
    on_queue,
    parse_pairs,
    state_filter,
)
from tej.job.status import JobStatus
from tej.queue import RemoteQueue
from tej.queue.base import no_job
from tej.queue.filters import ORDERS
from tej.queue.management import Killed, check_killed


@click.command()
@on_queue()
@job_ids
@click.option(
    "--attempts",
    is_flag=True,
    help="Also of the attempts that retries have put aside: ID#1, ...",
)
def status(
    queue: RemoteQueue, ids: tuple[str, ...], attempts: bool, as_json: bool
) -> int:
    """Get the status of jobs."""
    documents = []
    worst = 0
    found = queue.statuses(ids)
    if attempts:
        earlier = [job for id_ in dict.fromkeys(ids) for job in queue.attempts(id_)]
        found = {**{job.job_id: job for job in earlier}, **found}
        ids = tuple(found)
    for id_, job in found.items():
        error = no_job(id_) if job is None else None
        words = "" if job is None else output.prefix(ids, id_) + job.describe()
        worst = max(worst, say(words, error, as_json))
        documents.append(output.as_document(id_, job, error))
    if as_json:
        output.print_json({"jobs": documents})
    return worst


def say(words: str, error: errors.Error | None, as_json: bool) -> int:
    """One job's outcome in words; returns its exit status."""
    if not as_json:
        click.echo(words if error is None else str(error), err=error is not None)
    return 0 if error is None else exit_status(error)


@click.command()
@on_queue()
@job_ids
@grace
def kill(queue: RemoteQueue, ids: tuple[str, ...], grace: int, as_json: bool) -> int:
    """Kill running jobs, with all of their processes."""
    worst = 0
    documents = []
    for id_, outcome in queue.kill_many(ids, grace=grace).items():
        if outcome is None:
            error: errors.Error | None = no_job(id_)
            words, document = "", output.as_document(id_, None, error)
        else:
            words = f"Job '{id_}' {as_words(outcome)}"
            error = still_running(outcome.status)
            was = {"was": outcome.was.value}
            document = output.as_document(id_, outcome.status, error, was)
        worst = max(worst, say(words, error, as_json))
        documents.append(document)
    if as_json:
        output.print_json({"jobs": documents})
    return worst


def as_words(outcome: Killed) -> str:
    """What a kill has done, as in the original."""
    if not outcome.was.final:
        return "killed"
    strays = "; what it had left running was ended" if outcome.strays else ""
    return f"has already completed{strays}"


def still_running(job: JobStatus) -> errors.JobStillRunning | None:
    """What `check_killed` would raise."""
    try:
        check_killed(job)
    except errors.JobStillRunning as error:
        return error
    return None


@click.command()
@on_queue()
@job_ids
def delete(queue: RemoteQueue, ids: tuple[str, ...], as_json: bool) -> int:
    """Delete finished jobs, with their files."""
    worst = 0
    documents = []
    for id_, error in queue.delete_many(ids).items():
        worst = max(worst, say(f"Deleted job '{id_}'", error, as_json))
        gone = {"deleted": error is None}
        documents.append(output.as_document(id_, None, error, gone))
    if as_json:
        output.print_json({"jobs": documents})
    return worst


@click.command("list")
@on_queue()
@state_filter
@label_filter
@click.option(
    "--since", type=moment, metavar="WHEN", help="Submitted since: 3d, 12h, 2026-11-22."
)
@click.option(
    "--sort", type=click.Choice(list(ORDERS)), default="id", show_default=True
)
@click.option("--sizes", is_flag=True, help="Also the room each takes on the server.")
def list_(
    queue: RemoteQueue,
    states: tuple[str, ...],
    labels: tuple[str, ...],
    since: Any,  # noqa: ANN401 (datetime or None; click converts it)
    sort: str,
    sizes: bool,
    as_json: bool,
) -> None:
    """List the jobs in the queue."""
    wanted = parse_pairs(labels, "label")
    jobs = queue.jobs(states=states, labels=wanted, since=since, sort=sort)
    room = queue.sizes() if sizes else None
    if as_json:
        size = {} if room is None else room
        documents = [
            output.as_document(
                job.job_id,
                job,
                None,
                {} if room is None else {"size": size.get(job.job_id)},
            )
            for job in jobs
        ]
        output.print_json({"jobs": documents})
    else:
        output.print_list(jobs, room)


@click.command()
@on_queue()
@click.option("--kill", is_flag=True, help="Kill the jobs that are still running.")
@grace
@click.option(
    "--older-than",
    type=duration,
    metavar="TIME",
    help="Only jobs that ended before: 30d.",
)
@click.option(
    "--keep-last",
    type=click.IntRange(0),
    metavar="N",
    help="But the N that ended last.",
)
@state_filter
@label_filter
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
def cleanup(
    queue: RemoteQueue,
    kill: bool,
    grace: int,
    older_than: timedelta | None,
    keep_last: int | None,
    states: tuple[str, ...],
    labels: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Remove the queue with all its jobs, and the links that led to it.

    With --older-than, --keep-last, --state or --label, the queue stays, and only ended
    jobs that fit are deleted.
    """
    if older_than is None and keep_last is None and not (states or labels):
        remove_queue(queue, kill, grace, dry_run, as_json)
        return
    if kill:
        raise click.UsageError(
            "--kill is for the whole queue: what runs is never chosen"
        )
    chosen = queue.prune(
        older_than=older_than,
        keep_last=keep_last or 0,
        states=states,
        labels=parse_pairs(labels, "label"),
        dry_run=dry_run,
    )
    if as_json:
        gone = {"deleted": not dry_run}
        documents = [output.as_document(job.job_id, job, None, gone) for job in chosen]
        output.print_json({"jobs": documents})
    for job in () if as_json else chosen:
        click.echo(f"{'Would delete' if dry_run else 'Deleted'} job '{job.job_id}'")


def remove_queue(
    queue: RemoteQueue, kill: bool, grace: int, dry_run: bool, as_json: bool
) -> None:
    """The queue with all there is in it, or with `dry_run` what that would be."""
    place = str(queue.queue)
    if not dry_run:
        queue.cleanup(kill, grace=grace)
        if as_json:
            output.print_json({"queue": place, "removed": True})
        else:
            click.echo(f"Removed the queue '{place}'", err=True)
        return
    jobs = queue.jobs()
    running = [job.job_id for job in jobs if not job.state.final]
    if as_json:
        ids = [job.job_id for job in jobs]
        output.print_json(
            {"queue": place, "removed": False, "jobs": ids, "running": running}
        )
        return
    click.echo(f"Would remove the queue '{place}' with its {len(jobs)} jobs")
    for job_id in running:
        click.echo(
            f"Would kill job '{job_id}'"
            if kill
            else f"Job '{job_id}' is still running: nothing would be removed"
        )


@click.command()
@on_queue("n")
def limit(queue: RemoteQueue, n: str, as_json: bool) -> None:
    """Let at most N jobs of a queue run at once; 0 for as many as there are."""
    if not n.isdecimal():
        raise click.UsageError(f"'{n}' is not a number of jobs")
    queue.limit(int(n))
    if as_json:
        output.print_json({"queue": str(queue.queue), "max_running": int(n)})


ALL = [status, list_, kill, delete, limit, cleanup]
