"""Base of the commands: decorators and classes for click, with help in sections.

The decorator `queue_command` makes a command of a function that takes a `RemoteQueue`.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from tej import errors
from tej.cli.destination_argument import explain_destination
from tej.cli.job_completion import complete_words
from tej.cli.password_prompt import ask_for_secret
from tej.cli.profile import find_profile, profile_option, settings_on_command_line
from tej.cli.sectioned_option import SHARED, Option
from tej.destination import home_directory
from tej.queue.default_queue import DEFAULT_TEJ_DIR

if TYPE_CHECKING:
    from tej.config import Profile
    from tej.queue.remote import RemoteQueue

Function = TypeVar("Function", bound=Callable[..., Any])

COMMAND_WORDS = "tej.command_words"
"""Key of the words after `--` in the `meta` of click's context."""

SELECTING = (
    *("ids", "all_", "failed", "running", "states", "labels", "since"),
    *("parameters", "skip_failed"),
)
"""Parameters of the options that select jobs; see `job_selection.py`."""


class Command(click.Command):
    """A command whose help lists its own options first, and the common options last.

    If `takes_command` is true, the words after `--` are the command of a job, and are
    stored in the context's `meta`.  A single word that is a directory is not a command:
    scripts write `--` before a directory whose name may begin with a dash.
    """

    def __init__(
        self,
        *arguments: Any,  # noqa: ANN401 (the arguments of click.Command)
        example: str = "",
        takes_command: bool = False,
        **settings: Any,  # noqa: ANN401
    ) -> None:
        settings.setdefault("epilog", f"\b\nExample:\n  {example}")
        super().__init__(*arguments, **settings)
        self.example = example
        self.takes_command = takes_command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if self.takes_command and "--" in args:
            # By default, click joins the words before and after `--`, so this method
            # separates them first.
            start = args.index("--")
            words = args[start + 1 :]
            if len(words) != 1 or not Path(words[0]).is_dir():
                ctx.meta[COMMAND_WORDS] = words
                args = args[:start]
        return super().parse_args(ctx, args)

    def format_options(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        for heading, records in self.option_sections(ctx).items():
            with formatter.section(heading):
                formatter.write_dl(records)

    def option_sections(self, ctx: click.Context) -> dict[str, list[tuple[str, str]]]:
        """Return the options with their help lines, grouped by heading of the help."""
        sections: dict[str, list[tuple[str, str]]] = {"Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                is_help = "--help" in parameter.opts
                heading = SHARED if is_help else getattr(parameter, "section", None)
                sections.setdefault(heading or "Options", []).append(record)
        sections[SHARED] = sections.pop(SHARED)
        return {heading: records for heading, records in sections.items() if records}


def command(
    name: str, example: str, *, takes_command: bool = False
) -> Callable[[Callable[..., Any]], Command]:
    """Return a decorator for a command that does not use a queue."""
    return click.command(
        name, cls=Command, example=example, takes_command=takes_command
    )


def queue_command(
    name: str,
    *arguments: str,
    example: str,
    takes_command: bool = False,
    usage: str | None = None,
    connects_early: bool = False,
) -> Callable[[Callable[..., Any]], Command]:
    """Return a decorator for a command on a queue.

    The decorated function is called with `queue`, `as_json`, and a parameter for each
    name in `arguments`.  `[directory]` is optional, and `[jobs...]` and `[files...]`
    accept any number of words (see `split_words`).  On the command line, the
    destination precedes the arguments.  The destination may be left out if a profile or
    the environment variable TEJ_DESTINATION sets a destination.  If `takes_command` is
    true, the words after `--` are the command of a job.  `usage` replaces the arguments
    in the help.  If `connects_early` is true, the login starts before the function is
    called; this is for commands that prompt for nothing and always send a request.
    """

    def decorate(function: Callable[..., Any]) -> Command:
        make = command(name, example, takes_command=takes_command)
        words = [usage] if usage else [one.upper() for one in arguments]
        words += ["[-- COMMAND...]"] if takes_command else []
        metavar = " ".join(["[DESTINATION]", *words])
        return make(_on_queue(arguments, metavar, connects_early)(function))

    return decorate


json_option = click.option(
    "--json", "as_json", is_flag=True, cls=Option, help="Print JSON."
)
host_key_option = click.option(
    "--accept-new-host-key",
    is_flag=True,
    cls=Option,
    help="Accept an unknown host key, but never a changed one.",
)

transport_option = click.option(
    "--transport",
    type=click.Choice(["openssh", "paramiko"]),
    envvar="TEJ_TRANSPORT",
    show_envvar=True,
    cls=Option,
    help="SSH client.  [default: openssh where `ssh` exists]",
)
queue_option = click.option(
    "--queue",
    "queue_path",
    envvar="TEJ_QUEUE",
    show_envvar=True,
    metavar="PATH",
    cls=Option,
    help=f"Directory of the queue on the server.  [default: {DEFAULT_TEJ_DIR}]",
)
need_runtime_option = click.option(
    "--need-runtime",
    "needed",
    multiple=True,
    metavar="NAME",
    cls=Option,
    help="Require this runtime of the queue; may be repeated to allow several.",
)
trust_queue_option = click.option(
    "--trust-queue",
    is_flag=True,
    cls=Option,
    help="Use a queue that other users can write to.",
)


def _on_queue(
    arguments: tuple[str, ...], metavar: str, connects_early: bool
) -> Callable[[Function], Function]:
    def decorate(function: Function) -> Function:
        @click.argument(
            "words",
            nargs=-1,
            metavar=metavar,
            shell_complete=complete_words(arguments),
        )
        @profile_option
        @queue_option
        @need_runtime_option
        @host_key_option
        @trust_queue_option
        @transport_option
        @json_option
        @functools.wraps(function)
        def command(
            words: tuple[str, ...],
            profile_name: str | None,
            needed: tuple[str, ...],
            accept_new_host_key: bool,
            **options: Any,  # noqa: ANN401 (passed on)
        ) -> Any:  # noqa: ANN401
            context = click.get_current_context()
            context.obj, rest = find_profile(
                words,
                arguments,
                name=profile_name,
                given=settings_on_command_line(context),
                selects_jobs=any(options.get(name) for name in SELECTING),
            )
            for name in ("queue_path", "transport", "trust_queue"):
                options.pop(name)
            # Only a command that may create a queue has the option --runtime.
            creates = "runtime" in options
            options.pop("runtime", None)
            try:
                with open_queue(
                    context.obj,
                    needed,
                    accept_new_host_key,
                    creates=creates,
                    connects_early=connects_early,
                ) as queue:
                    return function(queue, **name_words(arguments, rest), **options)
            except errors.ConnectionFailed as error:
                why = explain_destination(words, rest) if error.permanent else ""
                if why:
                    error.args = (f"{error}\n{why}",)
                raise

        return cast("Function", command)

    return decorate


def open_queue(
    profile: Profile,
    needed: tuple[str, ...],
    accept_new_host_key: bool,
    *,
    creates: bool,
    connects_early: bool = False,
) -> RemoteQueue:
    """Return the queue that the settings in effect describe.

    `needed` are the runtimes that the queue may have, or () for any runtime.  The
    runtime in the settings is used only if `creates` is true: the command may create a
    queue.  If `connects_early` is true, the transport logs in while the modules of the
    queue are imported.
    """
    from tej.destination import Destination
    from tej.transport import open_transport

    options = profile.options()
    runtime = options.pop("setup_runtime", None)
    if creates and runtime:
        check_runtime(runtime)
    destination = Destination.parse(profile.get("destination"))
    transport = open_transport(
        destination,
        transport=options.pop("transport", None),
        persist=options.pop("persist", None),
        ask=ask_for_secret if sys.stdin.isatty() else None,
        terminal=sys.stdin.isatty(),
        accept_new_host_key=accept_new_host_key,
    )
    # Importing the modules of the queue is slow. `ssh` reads its configuration during
    # the first of these imports, and logs in during the second.
    transport.prepare()
    try:
        import_module("tej.queue.connection")
        if connects_early:
            transport.connect_early()
        from tej.queue.remote import RemoteQueue

        return RemoteQueue(
            destination,
            setup_runtime=runtime if creates else None,
            need_runtime=needed or None,
            transport=transport,
            **options,
        )
    except BaseException:
        transport.close()
        raise


def check_runtime(runtime: str) -> None:
    """Raise click.BadParameter if `runtime` is neither a runtime nor its folder."""
    from tej.server.scripts import find_runtime

    try:
        find_runtime(runtime)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--runtime") from error


def name_words(arguments: tuple[str, ...], words: list[str]) -> dict[str, Any]:
    """Return the words after the destination as keyword arguments of the command.

    `arguments` are the names of the parameters, as in `queue_command`.
    """
    named: dict[str, Any] = {}
    for position, argument in enumerate(arguments):
        name = argument.strip("[].")
        if argument.endswith("...]"):
            named[name] = words[position:]
        else:
            given = words[position:]
            named[name] = given[0] if given else current_directory()
    return named


def current_directory(
    otherwise: str = "write '.' to send all files of the home directory",
) -> str:
    """Return ".", the default directory of a job.

    Raises click.UsageError in the home directory, because sending all of its files
    would take a long time, and is rarely intended.  `otherwise` is the second advice of
    the message.
    """
    if Path.cwd() == home_directory().resolve():
        raise click.UsageError(
            "The current directory is your home directory: change to the directory of "
            f"the job, or {otherwise}"
        )
    return "."
