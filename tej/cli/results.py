"""`tej results`: print a table of the values that jobs have written to a file."""

from __future__ import annotations

import csv
import io
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

import click

from tej.cli import output
from tej.cli.command import queue_command
from tej.cli.job_selection import SelectedJobs, job_selection
from tej.cli.profile import current_profile
from tej.errors import DownloadFailed, Error
from tej.job.escaping import escape_line
from tej.job.formatting import cut, width_of
from tej.job.job_id import shorten_ids
from tej.job.plot import Point, as_number, draw
from tej.job.result_values import parse_metrics
from tej.job.status import JobStatus
from tej.queue.remote import RemoteQueue

WIDEST = 20
"""Maximum width of a column of the table at a terminal."""


@queue_command("results", "[jobs...]", example="tej results --file metrics.json --csv")
@job_selection(every=True)
@click.option(
    "--file",
    "name",
    metavar="FILE",
    help="File with the values: JSON, lines of JSON, or one value.  [default: the only "
    "file in the profile's `results`]",
)
@click.option(
    "--csv", "as_csv", is_flag=True, help="Print CSV.  [default: only in a pipe]"
)
@click.option(
    "--plot",
    "axes",
    nargs=2,
    metavar="X Y",
    help="Draw column Y over column X in the terminal.",
)
@click.option(
    "--png",
    type=click.Path(dir_okay=False, writable=True),
    metavar="FILE",
    help="Write the plot to a PNG file; needs matplotlib.",
)
def command(
    queue: RemoteQueue,
    jobs: SelectedJobs,
    name: str | None,
    as_csv: bool,
    axes: tuple[str, str] | None,
    png: str | None,
    as_json: bool,
) -> int:
    """Print a table of the values that jobs have written to a file, a row per job.

    The columns are the id, the state, the parameters of the sweep, and the values.
    Without a job, all jobs of the queue are used.
    """
    if png is not None and axes is None:
        raise click.UsageError("--png needs --plot X Y")
    name = name or only_result()
    statuses = jobs.statuses or {
        one: status
        for one, status in queue.statuses(jobs.ids).items()
        if status is not None
    }
    if jobs.by_filter:
        # The selection lists the newest job first, but the table lists the oldest job
        # first.
        statuses = dict(reversed(list(statuses.items())))
    values, missing = gather(queue, [*statuses], name)
    if as_json:
        documents = [
            output.as_document(one, job, missing.get(one), {"values": values.get(one)})
            for one, job in statuses.items()
        ]
        output.print_json({"jobs": documents})
        return 0
    rows = make_rows(statuses, values)
    if axes is not None:
        plot(rows, axes, png)
    elif as_csv or not sys.stdout.isatty():
        click.echo(as_csv_text(rows), nl=False)
    else:
        print_rows(rows, statuses)
    if missing:
        count = f"{len(missing)} of {len(statuses)} jobs have no '{name}'"
        output.say(count, err=True)
    return 0


def only_result() -> str:
    """Return the file that the setting `results` of the profile names.

    Raises click.UsageError unless `results` is a single file name without wildcards.
    """
    listed = tuple(current_profile().get("results") or ())
    if len(listed) != 1 or set("*?[") & set(listed[0]):
        raise click.UsageError(
            "Give --file FILE, the name of the file with the values, such as "
            "metrics.json"
        )
    return str(listed[0])


def gather(
    queue: RemoteQueue, job_ids: Sequence[str], name: str
) -> tuple[dict[str, dict[str, str]], dict[str, Error]]:
    """Read the file `name` of each job; return the values and the errors by job id."""
    values: dict[str, dict[str, str]] = {}
    errors: dict[str, Error] = {}
    with tempfile.TemporaryDirectory() as folder:
        found = queue.download_many(job_ids, name, directory=folder)
        for job_id, outcome in found.items():
            if outcome.error is not None or not outcome.files:
                errors[job_id] = outcome.error or DownloadFailed(
                    f"'{name}' matches no file in job '{job_id}'"
                )
                continue
            text = Path(outcome.files[0]).read_text("utf-8", "replace")
            values[job_id] = parse_metrics(text)
    return values, errors


def make_rows(
    jobs: Mapping[str, JobStatus], values: Mapping[str, Mapping[str, str]]
) -> list[list[str]]:
    """Return the header of the table, and one row per job."""
    parameters = [
        *dict.fromkeys(key for job in jobs.values() for key in job.parameters)
    ]
    keys = [*dict.fromkeys(key for found in values.values() for key in found)]
    head = ["job", "state", *parameters]
    # A value may have the name of another column, but each column needs a distinct
    # name.
    rows = [[*head, *(f"result.{key}" if key in head else key for key in keys)]]
    for job_id, job in jobs.items():
        found = values.get(job_id, {})
        rows.append(
            [
                job_id,
                str(job.state),
                *(job.parameters.get(key, "") for key in parameters),
                *(found.get(key, "") for key in keys),
            ]
        )
    return rows


def as_csv_text(rows: list[list[str]]) -> str:
    """Return the rows as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def print_rows(rows: list[list[str]], jobs: Mapping[str, JobStatus]) -> None:
    """Print the rows as a table, with short ids and without the columns on the right
    that do not fit the terminal."""
    short = shorten_ids(jobs)
    shown = [
        [
            escape_line(short.get(row[0], row[0])),
            *(cut(escape_line(cell), WIDEST) for cell in row[1:]),
        ]
        for row in rows
    ]
    widths = [max(map(width_of, column)) for column in zip(*shown, strict=True)]
    room = shutil.get_terminal_size().columns
    while sum(widths) + 2 * (len(widths) - 1) > room and len(widths) > 2:
        widths.pop()
    for row in shown:
        cells = zip(row, widths, strict=False)
        click.echo(
            "  ".join(
                cell + " " * (width - width_of(cell)) for cell, width in cells
            ).rstrip()
        )
    hidden = len(rows[0]) - len(widths)
    if hidden:
        output.say(f"{hidden} more columns: use --csv or --json", err=True)


def plot(rows: list[list[str]], axes: tuple[str, str], png: str | None) -> None:
    """Draw two columns of the rows, in the terminal or to a PNG file.

    Raises click.UsageError if there is no such column, or no number in a column.
    """
    head, *values = rows
    for name in axes:
        if name not in head:
            raise click.UsageError(
                f"--plot: there is no column '{name}'; use {', '.join(head[2:])}"
            )
    x, y = map(head.index, axes)
    pairs = [(as_number(row[x]), as_number(row[y])) for row in values]
    points = [(a, b) for a, b in pairs if a is not None and b is not None]
    if not points:
        raise click.UsageError(f"--plot: no job has numbers in {' and '.join(axes)}")
    if png is not None:
        save_png(sorted(points), axes, png)
        return
    size = shutil.get_terminal_size()
    names = [escape_line(name) for name in axes]
    for line in draw(points, names[0], names[1], size.columns, size.lines - 2):
        click.echo(line)


def save_png(points: list[Point], axes: tuple[str, str], file: str) -> None:
    """Write a plot of the points to a PNG file.

    Raises click.UsageError if matplotlib is not installed.
    """
    try:
        figure = import_module("matplotlib.figure").Figure()
    except ImportError:
        raise click.UsageError(
            "--png needs matplotlib: install it, or leave --png out for a plot in the "
            "terminal"
        ) from None
    plot_area = figure.subplots()
    plot_area.plot(*zip(*points, strict=True), "o")
    plot_area.set_xlabel(axes[0])
    plot_area.set_ylabel(axes[1])
    figure.savefig(file, format="png")
