"""Command-line options that several commands have."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from tej.cli.option_values import duration, moment, parse_pairs, seconds
from tej.job.status import JobState
from tej.queue.job_requests import DEFAULT_GRACE
from tej.server.scripts import BUILT_IN

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = [
    "duration",
    "grace",
    "label_filter",
    "moment",
    "outcome_filters",
    "parse_pairs",
    "runtime",
    "seconds",
    "state_filter",
]

Function = TypeVar("Function", bound=Callable[..., Any])

LABEL: dict[str, Any] = {
    "multiple": True,
    "metavar": "KEY=VALUE",
    "help": "Only jobs with this label; may be repeated.",
}
"""Settings of the option `--label` of commands that select jobs."""
STATE: dict[str, Any] = {
    "multiple": True,
    "type": click.Choice([state.value for state in JobState]),
    "metavar": "STATE",
}
"""Arguments of `click.option` for `--state` in commands that select jobs, except
`help`."""


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


def outcome_filters(function: Function) -> Function:
    """Add the filters `--failed` and `--running` to a command with `--state`.

    `--running` is passed to the command as one of its `states`.
    """

    @functools.wraps(function)
    def command(
        *arguments: Any,  # noqa: ANN401 (handed through)
        states: tuple[str, ...],
        running: bool,
        **others: Any,  # noqa: ANN401 (handed through)
    ) -> Any:  # noqa: ANN401
        states += (JobState.RUNNING.value,) if running else ()
        return function(*arguments, states=states, **others)

    for option in (
        click.option("--running", is_flag=True, help="Only jobs in the state running."),
        click.option(
            "--failed", is_flag=True, help="Only jobs that ended without success."
        ),
    ):
        command = option(command)
    return cast("Function", command)
