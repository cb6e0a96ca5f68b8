"""Options `--after` and `--input`, which name the jobs that a job needs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import click

from tej.cli.complete import complete_job
from tej.cli.option import Option
from tej.cli.values import parse_pairs
from tej.job.dependencies import split_input

Function = TypeVar("Function", bound=Callable[..., Any])


def dependencies(function: Function) -> Function:
    """Add the options `--after` and `--input` to a command.

    The values are passed to the command as `after`, a tuple of job ids, and `inputs`, a
    dictionary from paths to (job id, path).
    """

    @functools.wraps(function)
    def command(
        *arguments: Any,  # noqa: ANN401 (handed through)
        inputs: tuple[str, ...],
        **others: Any,  # noqa: ANN401 (handed through)
    ) -> Any:  # noqa: ANN401
        pairs = parse_pairs(inputs, "input", "PATH=JOB:PATH")
        origins = {path: split_input(origin) for path, origin in pairs.items()}
        return function(*arguments, inputs=origins, **others)

    option = functools.partial(
        click.option, cls=Option, section="Jobs that must succeed first", multiple=True
    )
    for add in (
        option(
            "--input",
            "inputs",
            metavar="PATH=JOB:PATH",
            help="Copy a file of that job on the server to PATH; may be repeated.",
        ),
        option(
            "--after",
            metavar="JOB",
            shell_complete=complete_job,
            help="Start after the job with this id has succeeded; may be repeated.",
        ),
    ):
        command = add(command)
    return cast("Function", command)
