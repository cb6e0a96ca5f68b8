"""Output of the commands: text for people, lines for pipes, JSON for programs.

The result of a command goes to stdout, and all other messages go to stderr.  With
`--json`, stdout gets one JSON document, also for an error.  Text from the server is
escaped, because control characters in it could manipulate the terminal.  Only the
output of jobs is printed unchanged.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from tej.cli.exit_status import exit_status
from tej.errors import Error
from tej.job.directory import scan
from tej.job.status import JobStatus

if TYPE_CHECKING:
    from rich.progress import Progress

    from tej.queue.logs import Piece

PATIENCE = 1.0
"""Seconds until a progress bar appears."""


def escape(text: str, keep: str = "\n\t") -> str:
    """Escape control and other unprintable characters, such as ESC as \\x1b.

    The characters in `keep` are not escaped.
    """
    if text.isprintable():
        return text
    return "".join(
        one
        if one.isprintable() or one in keep
        else one.encode("unicode_escape").decode("ascii")
        for one in text
    )


def say(text: str, *, err: bool = False) -> None:
    """Print text of one or more lines, escaped."""
    click.echo(escape(text), err=err)


def say_line(text: str, *, err: bool = False) -> None:
    """Print one line, escaped; a newline in the text is also escaped."""
    click.echo(escape(text, keep=""), err=err)


def write_piece(piece: Piece) -> None:
    """Print job output unchanged: the job's stderr to stderr, other files to stdout."""
    is_stderr = piece.name == "_stderr"
    stream: BinaryIO = sys.stderr.buffer if is_stderr else sys.stdout.buffer
    stream.write(piece.data)
    stream.flush()


def size_of(directory: str, *, everything: bool = False) -> int | None:
    """Return the size of a job directory in bytes, for a progress bar.

    None if the directory cannot be read.
    """
    try:
        entries = scan(Path(directory), everything=everything)
        return sum(entry.stat.st_size for entry in entries)
    except (Error, OSError):
        # No error here: the submission will report the problem.
        return None


def print_json(document: dict[str, Any]) -> None:
    """Print one JSON document to stdout, in ASCII."""
    click.echo(json.dumps(document, indent=2))


def error_as_dict(kind: str, message: str) -> dict[str, str]:
    """Return an error for JSON; `kind` is the name of the Python class."""
    return {"kind": kind, "message": message}


def error_of(error: Error) -> dict[str, str]:
    """Return a tej.Error for JSON."""
    return error_as_dict(type(error).__name__, str(error))


def as_document(
    job_id: str,
    job: JobStatus | None,
    error: Error | None,
    more: Mapping[str, object] | None = None,
) -> dict[str, Any]:
    """Return a job for JSON, with its own error or null."""
    document: dict[str, Any] = {"id": job_id} if job is None else job.as_dict()
    document.update(more or {})
    document["error"] = error and error_of(error)
    return document


class JobReport:
    """Report on several jobs as lines or JSON; keeps the highest exit status."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._documents: list[dict[str, Any]] = []
        self._worst = 0

    def add(
        self,
        job_id: str,
        job: JobStatus | None,
        words: str = "",
        error: Error | None = None,
        more: Mapping[str, object] | None = None,
    ) -> None:
        """Report one job, with `words` or with its error."""
        self._documents.append(as_document(job_id, job, error, more))
        if error is not None:
            self._worst = max(self._worst, exit_status(error))
        if self._as_json:
            return
        if error is None:
            say_line(words)
        else:
            say(str(error), err=True)

    def finish(self) -> int:
        """Print the JSON document, if requested; returns the exit status."""
        if self._as_json:
            print_json({"jobs": self._documents})
        return self._worst


def prefix(ids: tuple[str, ...], job_id: str) -> str:
    """Return the job's id as the prefix of a line; "" if there is only one job."""
    return f"{job_id}: " if len(ids) > 1 else ""


class TransferBar:
    """Progress bar of a transfer, shown on stderr if that is a terminal.

    Call the instance with the number of bytes of each piece.  The bar appears when the
    transfer takes longer than PATIENCE seconds.
    """

    def __init__(self, label: str, total: int | None = None) -> None:
        self._label = escape(label, keep="")
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
            progress.TextColumn("{task.description}", markup=False),
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
