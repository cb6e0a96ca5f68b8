"""Output of tables of jobs: coloured at a terminal, in lines for scripts, or live."""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from difflib import get_close_matches

import click

from tej.cli import output
from tej.errors import ConnectionFailed
from tej.job.escaping import escape_line
from tej.job.resources import Resources
from tej.job.status import JobState, JobStatus
from tej.job.summary import summarize
from tej.job.table_columns import COLUMNS, SYNONYMS, JobTable

INTERVAL = 2.0
"""Number of seconds between two requests of `tej list --watch`."""


RESOURCES = [
    field.name
    for field in dataclasses.fields(Resources)
    if field.name not in (*COLUMNS, "modules", "options")
]
"""The requested resources that can be columns."""


def parse_columns(text: str) -> list[str]:
    """Return the names of the columns in a list such as "job,state,LR"."""
    names = [SYNONYMS.get(name.strip(), name.strip()) for name in text.split(",")]
    return [*dict.fromkeys(name for name in names if name)]


def check_columns(names: Iterable[str], jobs: Sequence[JobStatus]) -> None:
    """Raise click.BadParameter if a name is no column, resource, parameter or label.

    In a queue without jobs, every name is accepted, because a script that lists a
    parameter must not fail before its first job is submitted.
    """
    own = {key for job in jobs for key in (*job.parameters, *job.labels)}
    known = [*COLUMNS, *SYNONYMS, "size", *RESOURCES, *sorted(own)]
    for name in names if jobs else ():
        if name in known:
            continue
        close = get_close_matches(name, known, 1)
        way_out = (
            f"did you mean '{close[0]}'?" if close else f"use {', '.join(COLUMNS)}"
        )
        raise click.BadParameter(
            f"no job has the column '{name}': {way_out}", param_hint="--columns"
        )


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


def has_colours() -> bool:
    """Return whether the terminal and the user accept colours."""
    return "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def paint(job: JobStatus | None, column: str, cell: str) -> str:
    """Return a cell with colours: red for failed jobs, green for running jobs."""
    if job is None:
        return click.style(cell, bold=True)
    if not cell or column not in ("state", "exit"):
        return cell
    if job.state.final:
        return cell if job.succeeded else click.style(cell, fg="red")
    running = job.state is JobState.RUNNING
    return click.style(cell, fg="green" if running else "yellow")


def watch(get_table: Callable[[], JobTable], place: str) -> None:
    """Show the table on the whole terminal, and update the table until Ctrl-C.

    The last table is printed at the end.  If the server cannot be reached, the last
    table stays on the screen, with a line that shows the time of the table and the
    error.
    """
    from rich.live import Live
    from rich.text import Text

    asked, trouble = datetime.now().astimezone(), ""
    table = get_table()
    try:
        with Live(screen=True, auto_refresh=False) as live:
            while True:
                counts = summarize(table.jobs)
                head = f"{counts}, at {asked:%H:%M:%S}{trouble}  {place}"
                text = Text.from_ansi(
                    "\n".join(screen_lines(table, head)), no_wrap=True, overflow="crop"
                )
                live.update(text, refresh=True)
                time.sleep(INTERVAL)
                now = datetime.now().astimezone()
                try:
                    table, trouble, asked = get_table(), "", now
                except ConnectionFailed as error:
                    trouble = f"; since then: {error}"
    except KeyboardInterrupt:
        print_table(table)


def screen_lines(table: JobTable, head: str) -> list[str]:
    """Return the lines of a table for one screen, with a line `head` above the table.

    If the table has more lines than the screen, the last line shows the number of
    hidden jobs.
    """
    width, height = shutil.get_terminal_size()
    style = paint if has_colours() else None
    lines = [escape_line(head)[:width], *table.lines(width, style)]
    if not table.jobs:
        lines[1:] = ["No jobs"]
    if len(lines) > height:
        hidden = len(lines) - height + 1
        lines[height - 1 :] = [f"... and {hidden} more"]
    return lines
