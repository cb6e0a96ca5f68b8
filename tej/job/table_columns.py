"""Tables of jobs: columns, short ids and relative times, fitted to a width.

The command `tej list` and the lists that `RemoteQueue.jobs` returns print these tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from html import escape as escape_html

from tej.job.escaping import escape_line
from tej.job.formatting import (
    cut,
    format_age,
    format_duration,
    format_size,
    width_of,
)
from tej.job.job_id import ID_PREFIX, MAX_JOB_ID, shorten_ids
from tej.job.status import JobStatus

NARROWEST = 8
"""Minimum width of a column whose text is cut to make the table fit."""
DEFAULT = ("job", "state", "exit", "started", "duration", "where", "name")
DROPPED_FIRST = ("where", "name", "started", "duration")
"""Default columns that are removed, in this order, until the table fits the width."""


@dataclass(frozen=True)
class Column:
    """A column of a table of jobs."""

    text: Callable[[JobStatus], str]
    """Returns the cell of a job in human-readable form."""
    exact: Callable[[JobStatus], str]
    """Returns the cell of a job for scripts: complete ids, times in ISO 8601, numbers
    without a unit."""
    can_be_cut: bool = False
    right: bool = False


def _plain(get: Callable[[JobStatus], object], *, can_be_cut: bool = False) -> Column:
    def text(job: JobStatus) -> str:
        value = get(job)
        return "" if value is None else str(value)

    return Column(text, text, can_be_cut)


def _time(get: Callable[[JobStatus], datetime | None]) -> Column:
    def exact(job: JobStatus) -> str:
        time = get(job)
        return "" if time is None else time.isoformat()

    return Column(lambda job: format_age(get(job), job.reported), exact)


def _in_powers_of_1024(size: int) -> str:
    """Return a memory size as users write it in `--memory`: 1536M, 2G."""
    unit = 0
    while size and size % 1024 == 0 and unit < 4:
        size //= 1024
        unit += 1
    return f"{size}{' KMGT'[unit].strip()}"


def _resource(name: str) -> Column:
    """Return the column of a requested resource; exact values are bytes or seconds."""

    def text(job: JobStatus) -> str:
        value = job.resources.get(name, "")
        if not value.isdigit():
            return value
        if name in ("memory", "memory_per_cpu"):
            return _in_powers_of_1024(int(value))
        return format_duration(int(value)) if name == "walltime" else value

    return Column(text, lambda job: job.resources.get(name, ""), can_be_cut=True)


def _pairs(pairs: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in pairs.items())


COLUMNS: Mapping[str, Column] = {
    "job": _plain(lambda job: job.job_id),
    "state": _plain(lambda job: job.state),
    "exit": _plain(lambda job: job.result),
    "submitted": _time(lambda job: job.submitted),
    "started": _time(lambda job: job.started),
    "ended": _time(lambda job: job.ended),
    "duration": Column(
        lambda job: "" if job.duration is None else format_duration(job.duration),
        lambda job: "" if job.duration is None else f"{job.duration:g}",
    ),
    "where": _plain(lambda job: job.host, can_be_cut=True),
    "name": _plain(lambda job: job.name, can_be_cut=True),
    "script": _plain(lambda job: job.script, can_be_cut=True),
    "labels": _plain(lambda job: _pairs(job.labels), can_be_cut=True),
    "parameters": _plain(lambda job: _pairs(job.parameters), can_be_cut=True),
    "submitter": _plain(lambda job: job.submitter, can_be_cut=True),
    "attempt": _plain(lambda job: job.attempt),
    "native": _plain(lambda job: job.native_id),
    "runtime": _plain(lambda job: job.runtime),
    "signature": _plain(lambda job: job.signature, can_be_cut=True),
    "directory": _plain(lambda job: job.directory, can_be_cut=True),
}
"""The columns by their names.

A table may also have the column "size", and a column for each parameter, label and
requested resource."""

SYNONYMS = {"id": "job", "exit_code": "exit", "host": "where", "native_id": "native"}
"""Column names by synonym; the synonym is the key of the same value in JSON output."""


class JobTable:
    """A table of jobs, as text for a terminal, as HTML, or as exact values.

    `columns` are names of COLUMNS, "size", or keys of parameters, labels and resources.
    By default, the table has the columns in DEFAULT and a column for each parameter.
    `sizes` maps ids to sizes in bytes.  `known_ids` are the ids of all jobs in the
    queue: a short id must be unique among them.
    """

    def __init__(
        self,
        jobs: Iterable[JobStatus],
        columns: Sequence[str] | None = None,
        *,
        sizes: Mapping[str, int] | None = None,
        known_ids: Iterable[str] = (),
    ) -> None:
        self.jobs = list(jobs)
        self._sizes = sizes
        self.are_chosen = columns is not None
        self.names = self._default_names() if columns is None else list(columns)
        if sizes is not None and "size" not in self.names:
            self.names.append("size")
        self._known_ids = known_ids

    @cached_property
    def _short(self) -> dict[str, str]:
        return shorten_ids([*self._known_ids, *(job.job_id for job in self.jobs)])

    def _default_names(self) -> list[str]:
        found = dict.fromkeys(key for job in self.jobs for key in job.parameters)
        parameters = [key for key in found if key not in DEFAULT and key != "size"]
        return [*DEFAULT[:5], *parameters, *DEFAULT[5:]]

    def _column(self, name: str) -> Column:
        if name == "size":
            sizes = self._sizes or {}
            return Column(
                lambda job: format_size(sizes.get(job.job_id)),
                lambda job: str(sizes.get(job.job_id, "")),
                right=True,
            )
        if name in COLUMNS:
            return COLUMNS[name]
        if any(name in (*job.parameters, *job.labels) for job in self.jobs):
            return _plain(
                lambda job: job.parameters.get(name, job.labels.get(name)),
                can_be_cut=True,
            )
        return _resource(name)

    def exact_rows(self) -> Iterator[list[str]]:
        """Yield the exact values of each job, with unprintable characters escaped."""
        columns = [self._column(name) for name in self.names]
        for job in self.jobs:
            yield [escape_line(column.exact(job)) for column in columns]

    def texts(self) -> Iterator[list[str]]:
        """Yield the cells of each job in human-readable form, with shortened ids."""
        cells = {name: self._cells(name)[1:] for name in self.names}
        if "job" in cells:
            cells["job"] = self._ids_within(MAX_JOB_ID)
        return map(list, zip(*cells.values(), strict=True))

    def lines(
        self,
        width: int | None = None,
        style: Callable[[JobStatus | None, str, str], str] | None = None,
    ) -> Iterator[str]:
        """Yield the head of the table, and a line for each job.

        If `width` is given, ids are shortened.  If the table is wider than `width`,
        texts are cut, and default columns are left out, until the lines fit.  Chosen
        columns are never left out.  `style(job, column, cell)` returns the cell with
        colours; `job` is None in the head.
        """
        names, cells, widths = self._fit(width)
        jobs = [None, *self.jobs]
        for index, job in enumerate(jobs):
            line = ""
            for name in names:
                text = cut(cells[name][index], widths[name])
                space = " " * (widths[name] - width_of(text))
                shown = text if style is None else style(job, name, text)
                right = self._column(name).right
                line += (space + shown if right else shown + space) + "  "
            yield line.rstrip()

    def _cells(self, name: str) -> list[str]:
        column = self._column(name)
        return [escape_line(text) for text in (name, *map(column.text, self.jobs))]

    def _fit(
        self, width: int | None
    ) -> tuple[list[str], dict[str, list[str]], dict[str, int]]:
        """Return the names, cells and widths of the columns, fitted to `width`."""
        names = list(self.names)
        cells = {name: self._cells(name) for name in names}
        if width is not None and "job" in names:
            cells["job"] = ["job", *self._ids_within(MAX_JOB_ID)]
        widths = {name: max(map(width_of, cells[name])) for name in names}
        if width is None or _total(widths) <= width:
            return names, cells, widths
        if "job" in names:
            room = width - (_total(widths) - widths["job"])
            cells["job"] = ["job", *self._ids_within(room)]
            widths["job"] = max(map(width_of, cells["job"]))
        droppable = [] if self.are_chosen else self._droppable()
        while not self._cut_to(width, widths) and droppable:
            name = droppable.pop(0)
            names.remove(name)
            del widths[name]
        return names, cells, widths

    def _ids_within(self, width: int) -> list[str]:
        """Return the ids, cut to `width`, but not below their unambiguous prefixes.

        An id made from a signature is always cut to its shortest unambiguous prefix,
        because its digits mean nothing to people.
        """
        cells = []
        for job in self.jobs:
            short, room = len(self._short[job.job_id]), width
            if job.job_id.startswith(ID_PREFIX):
                room = 0
            cells.append(escape_line(job.job_id[: max(short, room)]))
        return cells

    def _droppable(self) -> list[str]:
        own = [name for name in self.names if name not in (*DEFAULT, "size")]
        return [*DROPPED_FIRST, *reversed(own)]

    def _cut_to(self, width: int, widths: dict[str, int]) -> bool:
        """Reduce the widths of columns that can be cut; return whether the table fits.

        If even the narrowest columns do not fit, the widths stay unchanged.
        """
        reduced = dict(widths)
        flexible = [name for name in widths if self._column(name).can_be_cut]
        while _total(reduced) > width:
            widest = max(flexible, key=lambda name: reduced[name], default=None)
            if widest is None or reduced[widest] <= NARROWEST:
                return False
            reduced[widest] -= 1
        widths.update(reduced)
        return True

    def as_html(self) -> str:
        """Return the table as HTML, with complete ids and all text escaped."""
        cells = [self._cells(name) for name in self.names]
        head, *rows = zip(*cells, strict=True)
        lines = [_html_row("th", head)]
        for job, row in zip(self.jobs, rows, strict=True):
            lines.append(_html_row("td", row, title=escape_line(job.job_id)))
        return "<table>\n" + "\n".join(lines) + "\n</table>"


def _total(widths: Mapping[str, int]) -> int:
    return sum(widths.values()) + 2 * (len(widths) - 1)


def _html_row(tag: str, cells: Iterable[str], title: str = "") -> str:
    head = f'<tr title="{escape_html(title)}">' if title else "<tr>"
    return (
        head
        + "".join(f"<{tag}>{escape_html(cell)}</{tag}>" for cell in cells)
        + "</tr>"
    )
