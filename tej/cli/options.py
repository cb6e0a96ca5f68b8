"""Options that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from shlex import split
from typing import IO, TYPE_CHECKING, Any, TypeVar, cast

import click

from tej.cli.command import Option
from tej.cli.values import (
    duration,
    moment,
    parse_pairs,
    read_variables,
    seconds,
)
from tej.job.resources import Resources
from tej.job.status import JobState
from tej.server.scripts import BUILT_IN

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = [
    "duration",
    "environment",
    "grace",
    "job_ids",
    "job_labels",
    "label_filter",
    "moment",
    "parse_pairs",
    "resources",
    "runtime",
    "script",
    "seconds",
    "state_filter",
]

Function = TypeVar("Function", bound=Callable[..., Any])


def complete_runtime(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Completion of a runtime: a name, or a folder."""
    from click.shell_completion import CompletionItem

    names = [name for name in BUILT_IN if name.startswith(incomplete)]
    return [*map(CompletionItem, names), CompletionItem(incomplete, type="dir")]


def job_ids(function: Function) -> Function:
    """`--id`, which may be repeated."""
    return click.option(
        "--id",
        "ids",
        multiple=True,
        required=True,
        metavar="ID",
        help="Id of the job; may be repeated.",
    )(function)


def runtime(function: Function) -> Function:
    """`--runtime`, for commands that may create a queue."""
    return click.option(
        "-r",
        "--runtime",
        metavar="NAME|FOLDER",
        envvar="TEJ_RUNTIME",
        shell_complete=complete_runtime,
        help=f"Runtime of a new queue: {', '.join(BUILT_IN)}, or a folder.  "
        "[default: the server's scheduler]",
    )(function)


def grace(function: Function) -> Function:
    """`--grace`, for commands that kill."""
    return click.option(
        "--grace",
        type=click.IntRange(0, 3600),
        default=10,
        show_default=True,
        metavar="SECONDS",
        help="Time between SIGTERM and SIGKILL.",
    )(function)


def script(function: Function) -> Function:
    """`--script`, for commands that start a job."""
    return click.option(
        "--script",
        metavar="FILE|COMMAND",
        help="File in the directory, or shell command.  [default: start.sh]",
    )(function)


def environment(function: Function) -> Function:
    """`--env` and `--env-file`, for commands that start a job: gives `variables`."""

    @functools.wraps(function)
    def command(
        *arguments: Any,  # noqa: ANN401 (handed through)
        variables: tuple[str, ...],
        variables_file: IO[str] | None,
        **others: Any,  # noqa: ANN401 (handed through)
    ) -> Any:  # noqa: ANN401
        read = () if variables_file is None else read_variables(variables_file)
        return function(*arguments, variables=(*read, *variables), **others)

    for option in (
        click.option(
            "--env-file",
            "variables_file",
            type=click.File(encoding="utf-8"),
            metavar="FILE",
            help="Read variables from a JSON object, invisible to other users.",
        ),
        click.option(
            "--env",
            "variables",
            multiple=True,
            metavar="NAME=VALUE",
            help="Environment variable, part of the signature; may be repeated.",
        ),
    ):
        command = option(command)
    return cast("Function", command)


def job_labels(function: Function) -> Function:
    """`--label`, for commands that start a job."""
    return click.option(
        "--label",
        "labels",
        multiple=True,
        metavar="KEY=VALUE",
        help="Label for `tej list --label`; may be repeated.",
    )(function)


def resources(function: Function) -> Function:
    """Options of the scheduler; gives the command `resources` and `login`."""

    @functools.wraps(function)
    def command(
        *arguments: Any,  # noqa: ANN401 (handed through)
        nodes: int | None,
        cpus: int | None,
        memory: str | None,
        gpus: int | None,
        walltime: str | None,
        partition: str | None,
        account: str | None,
        scheduler_options: tuple[str, ...],
        **others: Any,  # noqa: ANN401 (handed through)
    ) -> Any:  # noqa: ANN401
        try:
            words = [word for option in scheduler_options for word in split(option)]
            wanted = Resources(
                nodes, cpus, memory, gpus, walltime, partition, account, words
            )
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        return function(*arguments, resources=wanted, **others)

    option = functools.partial(click.option, cls=Option, section="Resources")
    count = click.IntRange(1)
    for decorate in (
        option(
            "--login", is_flag=True, help="Source the login profile before the job."
        ),
        option(
            "--scheduler-option",
            "scheduler_options",
            multiple=True,
            metavar="WORDS",
            help="Options for the scheduler's submit command; may be repeated.",
        ),
        option("--account", metavar="NAME", help="Account that is charged."),
        option("--partition", metavar="NAME", help="Partition (queue) of the cluster."),
        option("--walltime", metavar="H:M:S", help="Time limit, as H:M:S or seconds."),
        option("--gpus", type=count, metavar="N", help="GPUs per node."),
        option("--memory", metavar="SIZE", help="Memory per node: 500M, 4G."),
        option("--cpus", type=count, metavar="N", help="CPUs per node."),
        option("--nodes", type=count, metavar="N", help="Number of nodes."),
    ):
        command = decorate(command)
    return cast("Function", command)


def label_filter(function: Function) -> Function:
    """`--label`, for commands that select jobs."""
    return click.option(
        "--label",
        "labels",
        multiple=True,
        metavar="KEY=VALUE",
        help="Only jobs with this label; may be repeated.",
    )(function)


def state_filter(function: Function) -> Function:
    """`--state`, for commands that select jobs."""
    return click.option(
        "--state",
        "states",
        multiple=True,
        type=click.Choice([state.value for state in JobState]),
        metavar="STATE",
        help="Only jobs in this state; may be repeated.",
    )(function)
