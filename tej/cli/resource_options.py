"""Options for the resources that a job requests from the scheduler."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from shlex import split
from typing import Any, TypeVar, cast

import click

from tej.cli.sectioned_option import Option
from tej.job.resources import MAIL_EVENTS, Resources

Function = TypeVar("Function", bound=Callable[..., Any])

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
    ("--exclusive", {"is_flag": True}, "Do not share the nodes with other jobs."),
    (
        "--name",
        {"metavar": "NAME"},
        "Name of the job, here and in the scheduler.  [default: name of DIRECTORY]",
    ),
    (
        "--begin",
        {"metavar": "TIME"},
        "Earliest start: 2026-11-26T08:00, or a delay such as 2h.",
    ),
    (
        "--priority",
        {"type": click.INT, "metavar": "N"},
        "Priority, -1024 to 1023; a higher number starts sooner.",
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
        "Send mail on this event; may be repeated.  [default: end, fail]",
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


ALTERNATIVES = {"memory": "memory_per_cpu", "memory_per_cpu": "memory"}
"""Resources of which a job may request only one."""


def resources(function: Function) -> Function:
    """Add the options of the scheduler to a command that starts a job.

    The values on the command line are passed to the command as the dictionary
    `resources`, with the keys of `Resources`.  The option --login is passed as `login`.
    """
    names = [
        option.partition("/")[0].removeprefix("--").replace("-", "_")
        for option, _, _ in _RESOURCES
    ]

    @functools.wraps(function)
    def command(*arguments: Any, **given: Any) -> Any:  # noqa: ANN401 (passed on)
        wanted = {name: given.pop(name) for name in names}
        wanted["modules"] = wanted.pop("module")
        options = wanted.pop("scheduler_option")
        try:
            wanted["options"] = [word for text in options for word in split(text)]
        except ValueError as error:
            raise click.UsageError(f"--scheduler-option: {error}") from error
        set_here = {
            name: value
            for name, value in wanted.items()
            if value is not None and value is not False and value not in ((), [])
        }
        return function(*arguments, resources=set_here, **given)

    option = functools.partial(click.option, cls=Option, section="Resources")
    for name, parameters, words in reversed(_RESOURCES):
        command = option(name, help=words, **parameters)(command)
    login = option(
        "--login", is_flag=True, help="Source the login profile before the job."
    )
    return cast("Function", login(command))


def merge_resources(
    stored: Mapping[str, Any], given: Mapping[str, Any]
) -> Resources | None:
    """Return the profile's resources, overridden by the resources in the options.

    Returns None if no resource is set.  Raises click.UsageError if a value is invalid.
    """
    replaced = {ALTERNATIVES.get(name, name) for name in given}
    kept = {name: value for name, value in stored.items() if name not in replaced}
    try:
        return Resources(**{**kept, **given}) or None
    except ValueError as error:
        raise click.UsageError(str(error)) from error
