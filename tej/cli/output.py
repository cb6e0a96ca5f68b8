"""Output of the commands: text for people, lines for pipes, JSON for programs.

The result of a command is printed to stdout, and all other messages are printed to
stderr.  With `--json`, one JSON document is printed to stdout, even if the command
fails.  Control characters in text from the server are escaped, because they could
manipulate the terminal.  Only the output of jobs is printed unchanged.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from tej.cli.exit_status import exit_status
from tej.errors import Error
from tej.job.escaping import escape, escape_line

if TYPE_CHECKING:
    from tej.job.status import JobStatus
    from tej.queue.logs import Piece


_is_line_open = False
"""Whether the last output of a job on the terminal has no newline at its end."""


def say(text: str, *, err: bool = False) -> None:
    """Print text that may have several lines, with control characters escaped."""
    if not text.startswith("\n"):
        end_line(err=err)
    click.echo(escape(text), err=err)


def say_line(text: str, *, err: bool = False) -> None:
    """Print one line with control characters escaped; newlines are also escaped."""
    end_line(err=err)
    click.echo(escape_line(text), err=err)


def say_lines(lines: Iterable[str]) -> None:
    """Print lines with a single write, because a flush after each line is slow.

    Control characters are not escaped (see `say_line`): the caller must have escaped
    text from the server.
    """
    end_line(err=False)
    click.echo("".join(f"{line}\n" for line in lines), nl=False)


def end_line(*, err: bool) -> None:
    """End an unfinished line of a job's output on the terminal, such as a progress bar.

    Called before a message is printed, because the message would otherwise appear in
    the unfinished line.
    """
    global _is_line_open
    if _is_line_open and (sys.stderr if err else sys.stdout).isatty():
        click.echo(err=err)
    _is_line_open = False


def write_piece(piece: Piece) -> None:
    """Print a piece of a job's output unchanged.

    The job's stderr is printed to stderr, and all other files are printed to stdout.
    """
    global _is_line_open
    is_stderr = piece.name == "_stderr"
    stream: BinaryIO = sys.stderr.buffer if is_stderr else sys.stdout.buffer
    stream.write(piece.data)
    stream.flush()
    if piece.data and stream.isatty():
        _is_line_open = not piece.data.endswith(b"\n")


def print_json(document: dict[str, Any]) -> None:
    """Print one JSON document to stdout, in ASCII."""
    import json

    click.echo(json.dumps(document, indent=2))


def error_as_dict(kind: str, message: str) -> dict[str, str]:
    """Return a JSON object for an error; `kind` is the name of the Python class."""
    return {"kind": kind, "message": message}


def error_of(error: Error) -> dict[str, str]:
    """Return a JSON object for a tej.Error."""
    return error_as_dict(type(error).__name__, str(error))


def as_document(
    job_id: str,
    job: JobStatus | None,
    error: Error | None,
    more: Mapping[str, object] | None = None,
) -> dict[str, Any]:
    """Return the JSON object of a job; its key `error` is null if there is no error."""
    document: dict[str, Any] = {"id": job_id} if job is None else job.as_dict()
    document.update(more or {})
    document["error"] = error and error_of(error)
    return document


class JobReport:
    """Report on several jobs as lines or JSON; stores the highest exit status."""

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
        """Report one job: print the text `words`, or the error if there is one."""
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
        """Print the JSON document if `--json` is given; return the exit status."""
        if self._as_json:
            print_json({"jobs": self._documents})
        return self._worst


def title(job_id: str, job: JobStatus | None) -> str:
    """Return the id of a job, with its parameters if `job` has any: "a (SEED=2)"."""
    pairs = {} if job is None else job.parameters
    values = " ".join(f"{name}={value}" for name, value in pairs.items())
    return f"{job_id} ({values})" if values else job_id
