"""Command-line options that several commands have."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from tej.cli import output
from tej.cli.option_values import (
    age_or_time,
    duration,
    parse_pairs,
    parse_parameters,
    seconds,
)
from tej.destination import LOCAL, home_directory
from tej.job.status import JobState
from tej.queue.grace_period import DEFAULT_GRACE, MAX_GRACE
from tej.queue.job_filters import select
from tej.server.scripts import BUILT_IN

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from click.shell_completion import CompletionItem

__all__ = [
    "duration",
    "grace",
    "label_filter",
    "list_filters",
    "parse_pairs",
    "runtime",
    "seconds",
    "state_filter",
    "warn_of_expansion",
]

Function = TypeVar("Function", bound=Callable[..., Any])

LABEL: dict[str, Any] = {
    "multiple": True,
    "metavar": "KEY=VALUE",
    "help": "Only jobs with this label; may be repeated.",
}
"""Settings of the option `--label` of commands that select jobs."""
PARAMETER: dict[str, Any] = {
    "multiple": True,
    "metavar": "NAME[=VALUES]",
    "help": "Only jobs of a sweep with this parameter: SEED, SEED=3, SEED=1..5.",
}
"""Settings of the option `--param` of commands that select jobs."""
SINCE: dict[str, Any] = {
    "type": age_or_time,
    "metavar": "WHEN",
    "help": "Only jobs submitted since WHEN: 3d, 12h, 2026-11-22.",
}
"""Settings of the option `--since` of commands that select jobs."""
STATE: dict[str, Any] = {
    "multiple": True,
    "type": click.Choice([state.value for state in JobState]),
    "metavar": "STATE",
}
"""Settings of the option `--state` of commands that select jobs, without the help line,
which is not the same in all commands."""


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
        type=click.IntRange(0, MAX_GRACE),
        default=DEFAULT_GRACE,
        show_default=True,
        metavar="SECONDS",
        help="Time between SIGTERM and SIGKILL.",
    )(function)


def label_filter(function: Function) -> Function:
    """Add the filter `--label` to a command that selects jobs."""
    return click.option("--label", "labels", **LABEL)(function)


def state_filter(function: Function) -> Function:
    """Add the filter `--state` to a command that selects jobs."""
    words = "Only jobs in this state; may be repeated."
    return click.option("--state", "states", help=words, **STATE)(function)


def list_filters(function: Function) -> Function:
    """Add the filters of `tej list` to a command.

    The command gets the filters as `choose`, a function that takes jobs and returns the
    jobs that match.
    """

    @functools.wraps(function)
    def command(
        *arguments: Any,  # noqa: ANN401 (passed on)
        states: tuple[str, ...],
        running: bool,
        failed: bool,
        labels: tuple[str, ...],
        parameters: tuple[str, ...],
        since: datetime | timedelta | None,
        **others: Any,  # noqa: ANN401 (passed on)
    ) -> Any:  # noqa: ANN401
        choose = functools.partial(
            select,
            states=states + ((JobState.RUNNING.value,) if running else ()),
            failed=failed,
            labels=parse_pairs(labels, "label"),
            parameters=parse_parameters(parameters),
            since=since,
        )
        return function(*arguments, choose=choose, **others)

    for decorate in (
        # `tej list` lists all jobs anyway. The option exists because it selects all
        # jobs in other commands.
        click.option(
            "--all", is_flag=True, expose_value=False, help="All jobs, the default."
        ),
        click.option("--since", **SINCE),
        click.option("--param", "parameters", **PARAMETER),
        label_filter,
        click.option("--running", is_flag=True, help="Only jobs in the state running."),
        click.option(
            "--failed", is_flag=True, help="Only jobs that ended without success."
        ),
        state_filter,
    ):
        command = decorate(command)
    return cast("Function", command)


def warn_of_expansion(option: str, path: str, destination: str) -> None:
    """Print a warning if the local shell has expanded the `~` in a path on the server.

    This is not an error, because both machines may have the same home directory.
    """
    home = str(home_directory())
    if destination != LOCAL and path.startswith(f"{home}/"):
        short = path.removeprefix(home)
        output.say(
            f"'{path}' begins with the home directory of this machine; if it was "
            f"written as ~{short}, quote it: {option} '~{short}'",
            err=True,
        )
