"""Output of tables of jobs: with colours at a terminal, in lines for scripts."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping

import click

from tej.cli import output
from tej.cli.colours import has_colours, paint
from tej.job.status import JobStatus
from tej.job.table_columns import JobTable


def print_table(table: JobTable) -> None:
    """Print a table that fits the terminal, with colours for the states."""
    if not table.jobs:
        output.say("No jobs")
        return
    width = shutil.get_terminal_size().columns
    for line in table.lines(width, paint if has_colours() else None):
        click.echo(line)


def print_lines(jobs: Iterable[JobStatus], sizes: Mapping[str, int] | None) -> None:
    """Print a line per job with id and state; then, if known, size and exit code."""
    for job in jobs:
        size = "" if sizes is None else f" {sizes.get(job.job_id, 0)}"
        code = "" if job.result is None else f" {job.result}"
        output.say_line(f"{job.job_id} {job.state}{size}{code}")


def print_exact(table: JobTable) -> None:
    """Print a line per job with the exact values of its columns, separated by tabs."""
    for row in table.exact_rows():
        click.echo("\t".join(row))
