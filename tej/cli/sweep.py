"""`tej sweep`: submit a job for each combination of parameter values."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TextIO

import click

from tej.cli import output
from tej.cli.command import queue_command
from tej.cli.common_options import runtime
from tej.cli.exit_status import exit_status
from tej.cli.job_options import job_options
from tej.job.spec import JobSpec
from tej.job.sweep import (
    Row,
    combine,
    find_duplicate,
    parse_parameter,
    parse_table,
    with_parameters,
)
from tej.queue.remote import RemoteQueue
from tej.queue.submission import Outcome


@queue_command(
    "sweep",
    "[directory]",
    takes_command=True,
    example="tej sweep . --param SEED=1..10 -- python3 train.py {SEED}",
)
@click.option(
    "--param",
    "parameters",
    multiple=True,
    metavar="NAME=VALUES",
    help="Parameter: SEED=1..10, LR=0.1,0.01; may be repeated.",
)
@click.option(
    "--table",
    type=click.File(encoding="utf-8"),
    metavar="FILE",
    help="Read a row per job from a CSV file, or a JSON list of objects.",
)
@click.option(
    "--zip",
    "zipped",
    is_flag=True,
    help="Pair the values by position.  [default: all combinations]",
)
@click.option(
    "--id",
    "id_",
    metavar="ID",
    help="Id with parameters: run-{SEED}.  [default: the signature]",
)
@click.option("--retry", is_flag=True, help="Restart jobs that have failed.")
@click.option("--dry-run", is_flag=True, help="Print what would be submitted.")
@runtime
@job_options
def command(
    queue: RemoteQueue,
    spec: JobSpec,
    parameters: tuple[str, ...],
    table: TextIO | None,
    zipped: bool,
    retry: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Submit a job for each combination of parameter values; print the jobs' ids.

    Each value is an environment variable of the job, and replaces {NAME} in the
    command and in --id.  If a job for the same work exists, it is not started again.
    """
    try:
        rows = read_rows(parameters, table, zipped=zipped)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    specs = [with_parameters(spec, row) for row in rows]
    ids = [one.job_id for one in specs if one.job_id is not None]
    if (twice := find_duplicate(ids)) is not None:
        raise click.UsageError(
            f"Several jobs would have the id '{twice}': write a parameter into the "
            "id, such as --id 'run-{SEED}'"
        )
    if dry_run:
        print_plan(spec, specs, as_json=as_json)
        return 0
    outcomes = queue.ensure_many(specs, retry=retry)
    return report(rows, outcomes, as_json=as_json)


def read_rows(
    parameters: tuple[str, ...], table: TextIO | None, *, zipped: bool
) -> list[Row]:
    """Return the parameters of each job, from the options and the table.

    Raises ValueError if there are no parameters, or if they cannot be combined.
    """
    if not parameters and table is None:
        raise ValueError("Give the parameters with --param or --table")
    rows = combine([*map(parse_parameter, parameters)], zipped=zipped)
    if table is None:
        return rows
    try:
        listed = parse_table(table.read())
    except ValueError as error:
        raise ValueError(f"--table: {table.name} is not a table: {error}") from error
    return [{**row, **more} for row in listed for more in rows]


def describe(row: Mapping[str, str]) -> str:
    """Return the parameters of a job as one line."""
    return " ".join(f"{name}={value}" for name, value in row.items())


def print_plan(template: JobSpec, specs: list[JobSpec], *, as_json: bool) -> None:
    """Print the parameters of each job that would be submitted, and its command.

    The command is left out if it is the same for all jobs.
    """
    if as_json:
        output.print_json(
            {
                "jobs": [
                    {"parameters": dict(spec.parameters), "command": spec.script}
                    for spec in specs
                ]
            }
        )
        return
    for spec in specs:
        own = "" if spec.script == template.script else f"  {spec.script}"
        output.say_line(describe(spec.parameters) + own)
    noun = "job" if len(specs) == 1 else "jobs"
    output.say(f"{len(specs)} {noun} would be submitted or found", err=True)


def report(rows: list[Row], outcomes: list[Outcome], *, as_json: bool) -> int:
    """Print the id of each job; return the highest exit status of an error, or 0."""
    documents = []
    new = 0
    for row, outcome in zip(rows, outcomes, strict=True):
        more = {"is_new": outcome.is_new, "parameters": row}
        documents.append(output.as_document(outcome.job_id, None, outcome.error, more))
        new += outcome.error is None and outcome.is_new
        if as_json:
            continue
        if outcome.error is not None:
            output.say(f"{describe(row)}: {outcome.error}", err=True)
        elif sys.stdout.isatty():
            output.say_line(f"{outcome.job_id}  {describe(row)}")
        else:
            output.say_line(outcome.job_id)
    errors = [one.error for one in outcomes if one.error is not None]
    if as_json:
        output.print_json({"jobs": documents})
    else:
        found = len(outcomes) - new - len(errors)
        words = f"{new} {'job' if new == 1 else 'jobs'} submitted, {found} found"
        output.say(words + (f", {len(errors)} refused" if errors else ""), err=True)
    return max(map(exit_status, errors), default=0)
