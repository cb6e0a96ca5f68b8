"""What the commands print: words for people, lines for pipes, JSON for programs.

stdout has what a script would capture, and with `--json` one document, also if there is
an error; the rest goes to stderr.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

import click

from tej.errors import Error
from tej.job.status import JobStatus, format_duration

if TYPE_CHECKING:
    from rich.progress import Progress

PATIENCE = 1.0
"""Seconds a transfer may take before a progress bar is worth looking at."""


def print_json(document: dict[str, Any]) -> None:
    """One document on stdout, keys in a stable order, ASCII only."""
    click.echo(json.dumps(document, indent=2))


def error_as_dict(kind: str, message: str) -> dict[str, str]:
    """An error in JSON: `kind` is the name of its class in Python."""
    return {"kind": kind, "message": message}


def error_of(error: Error) -> dict[str, str]:
    """One of tej's own."""
    return error_as_dict(type(error).__name__, str(error))


def as_document(
    job_id: str,
    job: JobStatus | None,
    error: Error | None,
    more: Mapping[str, object] | None = None,
) -> dict[str, Any]:
    """A job in JSON, with the error that concerns it alone, or null."""
    document: dict[str, Any] = {"id": job_id} if job is None else job.as_dict()
    document.update(more or {})
    document["error"] = error and error_of(error)
    return document


def prefix(ids: tuple[str, ...], job_id: str) -> str:
    """Which job a line is about, if there are several."""
    return f"{job_id}: " if len(ids) > 1 else ""


def print_list(
    jobs: Iterable[JobStatus], sizes: Mapping[str, int] | None = None
) -> None:
    """A table where a person looks; in a pipe a line a job: its id, its state, and its
    size in bytes if there are sizes."""
    if sys.stdout.isatty():
        _print_table(list(jobs), sizes)
        return
    for job in jobs:
        size = "" if sizes is None else f" {sizes.get(job.job_id, 0)}"
        click.echo(f"{job.job_id} {job.state}{size}")


def _print_table(jobs: list[JobStatus], sizes: Mapping[str, int] | None) -> None:
    from rich.console import Console
    from rich.filesize import decimal
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("job", "state", "exit", "started", "duration", "where", "name"):
        table.add_column(title, no_wrap=title in ("job", "state", "exit", "duration"))
    if sizes is not None:
        table.add_column("size", no_wrap=True, justify="right")
    for job in jobs:
        started = "" if job.started is None else f"{job.started.astimezone():%F %H:%M}"
        table.add_row(
            job.job_id,
            str(job.state),
            job.result or "",
            started,
            "" if job.duration is None else format_duration(job.duration),
            Text(printable(job.host or "")),
            Text(printable(job.name)),
            *([] if sizes is None else [decimal(sizes.get(job.job_id, 0))]),
        )
    console = Console()
    # An id that is cut short is of no use: rather a line that is too long.
    wide = console.options.update(max_width=10_000)
    console.width = max(console.width, console.measure(table, options=wide).minimum)
    console.print(table if jobs else "No jobs")


def printable(text: str) -> str:
    """With what a terminal could obey, or could not show, replaced."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


class TransferBar:
    """A progress bar on stderr, for transfers that last, where a person looks.

    Call it with the number of bytes of each piece.
    """

    def __init__(self, label: str, total: int | None = None) -> None:
        self._label = label
        self._total = total
        self.done = 0
        self._begun = time.monotonic()
        self._wanted = sys.stderr.isatty()
        self._bar: Progress | None = None

    def __call__(self, size: int) -> None:
        self.done += size
        if not self._wanted or time.monotonic() - self._begun < PATIENCE:
            return
        if self._bar is None:
            self._bar = self._start()
        self._bar.update(self._bar.task_ids[0], completed=self.done)

    def _start(self) -> Progress:
        from rich import progress
        from rich.console import Console

        bar = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.DownloadColumn(),
            progress.TransferSpeedColumn(),
            progress.TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        bar.add_task(self._label, total=self._total)
        bar.start()
        return bar

    def __enter__(self) -> TransferBar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
