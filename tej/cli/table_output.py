"""Output of tables of jobs: with colours at a terminal, in lines for scripts."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping

from tej.cli import output
from tej.cli.colours import has_colours, paint
from tej.job.escaping import escape_line
from tej.job.status import JobStatus
from tej.job.table_columns import JobTable


def print_table(table: JobTable) -> None:
    """Print a table that fits the terminal, with colours for the states."""
    if not table.jobs:
        output.say("No jobs")
        return
    width = shutil.get_terminal_size().columns
    output.say_lines(table.lines(width, paint if has_colours() else None))


def print_lines(jobs: Iterable[JobStatus], sizes: Mapping[str, int] | None) -> None:
    """Print a line per job with id and state; then, if known, size and exit code."""

    def line(job: JobStatus) -> str:
        size = "" if sizes is None else f" {sizes.get(job.job_id, 0)}"
        code = "" if job.result is None else f" {job.result}"
        return escape_line(f"{job.job_id} {job.state}{size}{code}")

    output.say_lines(map(line, jobs))


def print_exact(table: JobTable) -> None:
    """Print a line per job with the exact values of its columns, separated by tabs."""
    output.say_lines(map("\t".join, table.exact_rows()))
