"""Colours of job states at a terminal."""

from __future__ import annotations

import os

import click

from tej.job.status import JobState, JobStatus


def has_colours() -> bool:
    """Return whether the terminal supports colours, and the user permits them."""
    return "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def paint(job: JobStatus | None, column: str, cell: str) -> str:
    """Return a table cell in the colour of the job's state; a heading is bold.

    If `job` is None, the cell is a heading.  Only states and exit codes have colours.
    """
    if job is None:
        return click.style(cell, bold=True)
    if not cell or column not in ("state", "exit"):
        return cell
    if job.state.final:
        return cell if job.succeeded else click.style(cell, fg="red")
    running = job.state is JobState.RUNNING
    return click.style(cell, fg="green" if running else "yellow")
