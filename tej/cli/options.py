"""Options that several commands share, and how their destination is found."""

from __future__ import annotations

import functools
import json
import os
import re
import sys
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from shlex import split
from typing import IO, TYPE_CHECKING, Any, TypeVar, cast

import click

from tej.job.resources import Resources
from tej.job.status import JobState
from tej.queue import DEFAULT_TEJ_DIR, RemoteQueue
from tej.server.scripts import BUILT_IN, find_runtime

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Function = TypeVar("Function", bound=Callable[..., Any])


def on_queue(*arguments: str) -> Callable[[Function], Function]:
    """For a command on a queue: gives it `queue`, `as_json`, and the words for
    `arguments`, of which one that ends in "..." takes one or more.

    The destination comes first, unless TEJ_DESTINATION names one and it is left out.
    """
    usage = " ".join(["[DESTINATION]", *(name.upper() for name in arguments)])

    def decorate(function: Function) -> Function:
        @click.argument(
            "words",
            nargs=-1,
            metavar=usage,
            shell_complete=complete_directory if "directory" in arguments else None,
        )
        @click.option(
            "--queue",
            "queue_path",
            envvar="TEJ_QUEUE",
            default=DEFAULT_TEJ_DIR,
            show_default=True,
            show_envvar=True,
            metavar="PATH",
            help="Directory for tej's files on the server.",
        )
        @click.option(
            "--need-runtime",
            "needed",
            multiple=True,
            metavar="NAME",
            help="Refuse a queue with another runtime; repeat it for all that will do.",
        )
        @click.option(
            "--accept-new-host-key",
            is_flag=True,
            help="Trust a server that is not known yet; a changed key never.",
        )
        @click.option(
            "--trust-queue",
            is_flag=True,
            help="Use a queue that other users can write to: its scripts run as you.",
        )
        @click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
        @functools.wraps(function)
        def command(
            words: tuple[str, ...],
            queue_path: str,
            needed: tuple[str, ...],
            accept_new_host_key: bool,
            trust_queue: bool,
            runtime: str | None = None,
            **options: Any,  # noqa: ANN401 (handed through)
        ) -> Any:  # noqa: ANN401
            destination, rest = split_words(words, arguments)
            try:
                find_runtime(runtime or "auto")
            except ValueError as error:
                raise click.BadParameter(str(error), param_hint="--runtime") from error
            with RemoteQueue(
                destination,
                queue_path,
                runtime,
                needed or None,
                ask=ask_for_secret if sys.stdin.isatty() else None,
                accept_new_host_key=accept_new_host_key,
                trust_queue=trust_queue,
            ) as queue:
                names = (name.removesuffix("...").lower() for name in arguments)
                return function(queue, **dict(zip(names, rest, strict=True)), **options)

        return cast("Function", command)

    return decorate


def complete_directory(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """For a shell: a directory, where there can also be a destination."""
    from click.shell_completion import CompletionItem

    items = [CompletionItem(incomplete, type="dir")]
    if "local:".startswith(incomplete):
        items.append(CompletionItem("local:"))
    return items


def complete_runtime(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """For a shell: a runtime that comes with tej, or a folder that is one."""
    from click.shell_completion import CompletionItem

    names = [name for name in BUILT_IN if name.startswith(incomplete)]
    return [*map(CompletionItem, names), CompletionItem(incomplete, type="dir")]


def split_words(
    words: tuple[str, ...], arguments: tuple[str, ...]
) -> tuple[str, list[Any]]:
    """The destination, and a value for each argument."""
    default = os.environ.get("TEJ_DESTINATION")
    many = bool(arguments) and arguments[-1].endswith("...")
    given = len(words) > len(arguments)
    if many and default and given:
        given = looks_like_destination(words[0])
    if given:
        destination, words = words[0], words[1:]
    elif default:
        destination = default
    else:
        raise click.UsageError(
            "Missing argument 'DESTINATION': [user@]host[:port] or local:, "
            "or set TEJ_DESTINATION"
            if len(words) < 1 + len(arguments) and not (arguments and words)
            else f"Missing argument '{arguments[len(words) - 1].upper()}'"
        )
    if len(words) < len(arguments):
        raise click.UsageError(f"Missing argument '{arguments[len(words)].upper()}'")
    if many:
        last = len(arguments) - 1
        return destination, [*words[:last], list(words[last:])]
    if len(words) > len(arguments):
        raise click.UsageError(f"Unexpected argument '{words[len(arguments)]}'")
    return destination, list(words)


def looks_like_destination(word: str) -> bool:
    """Whether a word before file names is meant as a destination."""
    return "@" in word or word.startswith("ssh://") or word == "local:"


def ask_for_secret(prompt: str) -> str:
    """Ask the person at the terminal, who does not see what is typed."""
    return str(click.prompt(prompt.rstrip(": "), hide_input=True, err=True))


def job_ids(function: Function) -> Function:
    """`--id`, which may be repeated."""
    return click.option(
        "--id",
        "ids",
        multiple=True,
        required=True,
        metavar="ID",
        help="Identifier of the job; repeat it for several.",
    )(function)


def job_id(function: Function) -> Function:
    """`--id`, once."""
    return click.option(
        "--id", "id_", required=True, metavar="ID", help="Identifier of the job."
    )(function)


def runtime(function: Function) -> Function:
    """`--runtime`, for those that may make a queue."""
    return click.option(
        "-r",
        "--runtime",
        metavar="NAME|FOLDER",
        envvar="TEJ_RUNTIME",
        shell_complete=complete_runtime,
        help="What runs the jobs, if the queue is made now: 'slurm', 'pbs', 'sge' hand "
        "them to a scheduler, 'default' starts them right away; or a folder that is a "
        "runtime. By default, what fits the server.",
    )(function)


def grace(function: Function) -> Function:
    """`--grace`, for those that kill."""
    return click.option(
        "--grace",
        type=click.IntRange(0, 3600),
        default=10,
        show_default=True,
        metavar="SECONDS",
        help="Time between SIGTERM and SIGKILL.",
    )(function)


def script(function: Function) -> Function:
    """`--script`, for those that start a job."""
    return click.option(
        "--script",
        metavar="FILE|COMMAND",
        help="File in the directory that is run, or a command.  [default: start.sh]",
    )(function)


def environment(function: Function) -> Function:
    """`--env` and `--env-file`, for those that start a job: gives `variables`."""

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
            help="More of them, as a JSON object of strings; - reads stdin. Arguments "
            "are seen by all users of this machine, a file need not be.",
        ),
        click.option(
            "--env",
            "variables",
            multiple=True,
            metavar="NAME=VALUE",
            help="A variable the job sees; part of the signature. May be repeated.",
        ),
    ):
        command = option(command)
    return cast("Function", command)


def read_variables(file: IO[str]) -> list[str]:
    """NAME=VALUE words from a JSON object."""
    try:
        values = json.load(file)
    except ValueError as error:
        raise click.UsageError(f"--env-file: {file.name} is no JSON: {error}") from None
    if not isinstance(values, dict) or not all(
        isinstance(value, str) for value in values.values()
    ):
        raise click.UsageError(f"--env-file: {file.name} is no object of strings")
    for name, value in values.items():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise click.UsageError(f"--env-file: {name!r} cannot be a variable's name")
        if any("\ud800" <= letter <= "\udfff" for letter in value):
            raise click.UsageError(f"--env-file: the value of {name} is no text")
    return [f"{name}={value}" for name, value in values.items()]


def job_labels(function: Function) -> Function:
    """`--label`, for those that start a job."""
    return click.option(
        "--label",
        "labels",
        multiple=True,
        metavar="KEY=VALUE",
        help="Noted with the job, for `list` to find it. May be repeated.",
    )(function)


def resources(function: Function) -> Function:
    """What a job asks for, for those that start one: gives `resources` and `login`."""

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

    count = click.IntRange(1)
    for option in (
        click.option(
            "--login", is_flag=True, help="Read first what a login shell reads."
        ),
        click.option(
            "--scheduler-option",
            "scheduler_options",
            multiple=True,
            metavar="WORDS",
            help="For the scheduler's own submit command. May be repeated.",
        ),
        click.option("--account", metavar="NAME", help="Whom the job is charged to."),
        click.option("--partition", metavar="NAME", help="The scheduler's queue."),
        click.option(
            "--walltime", metavar="H:M:S", help="End the job after that, or seconds."
        ),
        click.option("--gpus", type=count, metavar="N", help="GPUs of each node."),
        click.option("--memory", metavar="SIZE", help="Memory of each node: 500M, 4G."),
        click.option("--cpus", type=count, metavar="N", help="CPUs of each node."),
        click.option("--nodes", type=count, metavar="N", help="Machines to run on."),
    ):
        command = option(command)
    return cast("Function", command)


def label_filter(function: Function) -> Function:
    """`--label`, for those that choose jobs."""
    return click.option(
        "--label",
        "labels",
        multiple=True,
        metavar="KEY=VALUE",
        help="Only jobs with this label. May be repeated.",
    )(function)


def state_filter(function: Function) -> Function:
    """`--state`, for those that choose jobs."""
    return click.option(
        "--state",
        "states",
        multiple=True,
        type=click.Choice([state.value for state in JobState]),
        help="Only jobs in this state. May be repeated.",
    )(function)


def parse_pairs(words: Iterable[str], what: str) -> dict[str, str]:
    """NAME=VALUE words as a dictionary."""
    pairs = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not name or not equals:
            form = "KEY=VALUE" if what == "label" else "NAME=VALUE"
            raise click.UsageError(f"A {what} is given as {form}, not as '{word}'")
        pairs[name] = value
    return pairs


_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def seconds(text: str) -> float:
    """A time to wait: 90, 0.5."""
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not number >= 0:
        raise click.BadParameter(f"'{text}' is not a number of seconds")
    return number


def duration(text: str) -> timedelta:
    """30d, 12h, 90m, 45s, 2w."""
    unit = _UNITS.get(text[-1:])
    try:
        # A stray minus would make everything old enough.
        if unit is not None and float(text[:-1]) >= 0:
            return timedelta(**{unit: float(text[:-1])})
    except (ValueError, OverflowError):
        pass
    raise click.BadParameter(f"'{text}' is not a time like 30d, 12h, 90m or 45s")


def moment(text: str) -> datetime:
    """A time ago, like 3d, or a date or time as in ISO 8601 (local, if it says no
    zone)."""
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        pass
    try:
        return datetime.now().astimezone() - duration(text)
    except (click.BadParameter, OverflowError):
        raise click.BadParameter(
            f"'{text}' is neither a time ago like 3d nor a date like 2026-11-22"
        ) from None
