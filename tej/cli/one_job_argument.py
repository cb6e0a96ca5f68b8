"""Job argument of commands that work on one job, such as `tej ls` and `tej shell`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from tej.cli.job_completion import complete_job
from tej.cli.job_selection import find_jobs

if TYPE_CHECKING:
    from tej.queue.remote import RemoteQueue

Function = TypeVar("Function", bound=Callable[..., Any])


def one_job(function: Function) -> Function:
    """Pass the job of a command as `job_id`, and the words after the job as `files`.

    The job is the first word, or is given by `--id`.  Without a word and without
    `--id`, the latest job of the current project is used.
    """

    @click.option(
        "--id",
        "ids",
        metavar="ID",
        shell_complete=complete_job,
        help="Id of the job; replaces the argument JOB.",
    )
    @functools.wraps(function)
    def command(
        queue: RemoteQueue,
        files: list[str],
        ids: str | None,
        **options: Any,  # noqa: ANN401 (passed on)
    ) -> Any:  # noqa: ANN401
        if ids is None:
            (job_id,) = find_jobs(queue, files[:1], latest=True).ids
            files = files[1:]
        else:
            job_id = ids
        return function(queue, job_id=job_id, files=files, **options)

    return cast("Function", command)


def refuse(words: list[str]) -> None:
    """Raise click.UsageError if there are words that the command does not use."""
    if words:
        raise click.UsageError(f"Unexpected argument '{words[0]}'")
