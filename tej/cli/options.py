"""Command-line options that several commands have."""

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
from tej.job.resources import MAIL_EVENTS, Resources
from tej.job.status import JobState
from tej.server.scripts import BUILT_IN

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = [
    "duration",
    "environment",
    "grace",
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
    """Return the shell completions for a runtime, which is a name or a folder."""
    from click.shell_completion import CompletionItem

    names = [name for name in BUILT_IN if name.startswith(incomplete)]
    return [*map(CompletionItem, names), CompletionItem(incomplete, type="dir")]


def runtime(function: Function) -> Function:
    """Add the option `--runtime` to a command that may create a queue."""
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
    """Add the option `--grace` to a command that kills jobs."""
    return click.option(
        "--grace",
        type=click.IntRange(0, 3600),
        default=10,
        show_default=True,
        metavar="SECONDS",
        help="Time between SIGTERM and SIGKILL.",
    )(function)


def script(function: Function) -> Function:
    """Add the option `--script` to a command that starts a job."""
    return click.option(
        "--script",
        metavar="FILE|COMMAND",
        help="File in the directory, or shell command.  [default: start.sh]",
    )(function)


def environment(function: Function) -> Function:
    """Add the options `--env` and `--env-file` to a command that starts a job.

    The values of both options are passed to the command as `variables`.
    """

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


def everything(function: Function) -> Function:
    """Add the option `--everything` to a command that reads a job directory."""
    return click.option(
        "--everything",
        is_flag=True,
        help="Also send files of tools: .git, __pycache__, virtual environments.",
    )(function)


def job_labels(function: Function) -> Function:
    """Add the option `--label KEY=VALUE` to a command that starts a job."""
    return click.option(
        "--label",
        "labels",
        multiple=True,
        metavar="KEY=VALUE",
        help="Label for `tej list --label`; may be repeated.",
    )(function)


_RESOURCES = (
    ("--nodes", {"type": click.IntRange(1), "metavar": "N"}, "Number of nodes."),
    ("--tasks", {"type": click.IntRange(1), "metavar": "N"}, "Number of MPI tasks."),
    (
        "--tasks-per-node",
        {"type": click.IntRange(1), "metavar": "N"},
        "MPI tasks on each node.",
    ),
    (
        "--cpus",
        {"type": click.IntRange(1), "metavar": "N"},
        "CPUs of each task, or of each node if no tasks are given.",
    ),
    ("--memory", {"metavar": "SIZE"}, "Memory of each node: 500M, 1.5G."),
    ("--memory-per-cpu", {"metavar": "SIZE"}, "Memory of each CPU: 500M, 1.5G."),
    ("--gpus", {"metavar": "[TYPE:]N"}, "GPUs of each node: 2, a100:2."),
    (
        "--walltime",
        {"metavar": "TIME"},
        "Time limit: H:M:S, 1-12:00:00, 2d, 90m, or seconds.",
    ),
    ("--partition", {"metavar": "NAME"}, "Queue or partition of the scheduler."),
    ("--account", {"metavar": "NAME"}, "Account that the job is charged to."),
    ("--qos", {"metavar": "NAME"}, "Quality of service."),
    ("--constraint", {"metavar": "FEATURES"}, "Features that the nodes must have."),
    ("--reservation", {"metavar": "NAME"}, "Reservation to run in."),
    ("--exclusive", {"is_flag": True}, "Share the nodes with no other job."),
    (
        "--name",
        {"metavar": "NAME"},
        "Name of the job in the scheduler.  [default: the directory's]",
    ),
    (
        "--begin",
        {"metavar": "TIME"},
        "Earliest start: 2026-11-26T08:00, or a delay such as 2h.",
    ),
    (
        "--priority",
        {"type": click.INT, "metavar": "N"},
        "-1024 to 1023; a higher number starts sooner.",
    ),
    (
        "--requeue/--no-requeue",
        {"default": None},
        "Run the job again after a preemption or a node failure.  [default: no]",
    ),
    ("--mail", {"metavar": "ADDRESS"}, "Address that the scheduler sends mail to."),
    (
        "--mail-on",
        {"multiple": True, "type": click.Choice(MAIL_EVENTS)},
        "Event that is mailed; may be repeated.  [default: end, fail]",
    ),
    (
        "--module",
        {"multiple": True, "metavar": "NAME"},
        "Environment module to load before the job; may be repeated.",
    ),
    (
        "--scheduler-option",
        {"multiple": True, "metavar": "WORDS"},
        "Further arguments of the scheduler's submit command; may be repeated.",
    ),
)


def resources(function: Function) -> Function:
    """Add the options of the scheduler to a command that starts a job.

    The values of these options are passed to the command as `resources` and `login`.
    """
    names = [
        option.partition("/")[0].removeprefix("--").replace("-", "_")
        for option, _, _ in _RESOURCES
    ]

    @functools.wraps(function)
    def command(*arguments: Any, **given: Any) -> Any:  # noqa: ANN401 (handed through)
        wanted = {name: given.pop(name) for name in names}
        wanted["modules"] = wanted.pop("module")
        options = wanted.pop("scheduler_option")
        try:
            wanted["options"] = [word for text in options for word in split(text)]
            requested = Resources(**wanted)
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        return function(*arguments, resources=requested, **given)

    option = functools.partial(click.option, cls=Option, section="Resources")
    for name, parameters, words in reversed(_RESOURCES):
        command = option(name, help=words, **parameters)(command)
    login = option(
        "--login", is_flag=True, help="Source the login profile before the job."
    )
    return cast("Function", login(command))


def label_filter(function: Function) -> Function:
    """Add the filter `--label` to a command that selects jobs."""
    return click.option(
        "--label",
        "labels",
        multiple=True,
        metavar="KEY=VALUE",
        help="Only jobs with this label; may be repeated.",
    )(function)


def state_filter(function: Function) -> Function:
    """Add the filter `--state` to a command that selects jobs."""
    return click.option(
        "--state",
        "states",
        multiple=True,
        type=click.Choice([state.value for state in JobState]),
        metavar="STATE",
        help="Only jobs in this state; may be repeated.",
    )(function)
