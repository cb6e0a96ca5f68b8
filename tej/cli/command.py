"""Base of the commands: decorators and classes for click, with help in sections.

The decorator `queue_command` makes a command of a function that takes a `RemoteQueue`.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from tej.cli.output import escape
from tej.queue.connection import DEFAULT_TEJ_DIR

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Function = TypeVar("Function", bound=Callable[..., Any])

SHARED = "Options of all commands"


class Option(click.Option):
    """A command-line option that stores the heading of its section in the help."""

    def __init__(
        self,
        *arguments: Any,  # noqa: ANN401 (those of click.Option)
        section: str = SHARED,
        **settings: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(*arguments, **settings)
        self.section = section


class Command(click.Command):
    """A command whose help lists its own options first, and the common options last."""

    def __init__(self, *arguments: Any, example: str = "", **settings: Any) -> None:  # noqa: ANN401
        settings.setdefault("epilog", f"\b\nExample:\n  {example}")
        super().__init__(*arguments, **settings)
        self.example = example

    def format_options(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        sections: dict[str, list[tuple[str, str]]] = {"Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                is_help = "--help" in parameter.opts
                heading = SHARED if is_help else getattr(parameter, "section", None)
                sections.setdefault(heading or "Options", []).append(record)
        last = sections.pop(SHARED)
        for heading, records in {**sections, SHARED: last}.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)


def command(name: str, example: str) -> Callable[[Callable[..., Any]], Command]:
    """Return a decorator for a command that does not use a queue."""
    return click.command(name, cls=Command, example=example)


def queue_command(
    name: str, *arguments: str, example: str
) -> Callable[[Callable[..., Any]], Command]:
    """Return a decorator for a command on a queue.

    The decorated function is called with `queue`, `as_json`, and a parameter for each
    name in `arguments`.  An argument whose name ends in "..." accepts one or more
    words.  On the command line, the destination precedes the arguments.  The
    destination may be left out if the environment variable TEJ_DESTINATION is set.
    """

    def decorate(function: Callable[..., Any]) -> Command:
        make = click.command(name, cls=Command, example=example)
        return make(_on_queue(arguments)(function))

    return decorate


json_option = click.option(
    "--json", "as_json", is_flag=True, cls=Option, help="Print JSON."
)
host_key_option = click.option(
    "--accept-new-host-key",
    is_flag=True,
    cls=Option,
    help="Accept an unknown server; never a changed key.",
)

transport_option = click.option(
    "--transport",
    type=click.Choice(["openssh", "paramiko"]),
    envvar="TEJ_TRANSPORT",
    show_envvar=True,
    cls=Option,
    help="SSH client.  [default: openssh where `ssh` exists]",
)


def _on_queue(arguments: tuple[str, ...]) -> Callable[[Function], Function]:
    usage = " ".join(["[DESTINATION]", *(name.upper() for name in arguments)])

    def decorate(function: Function) -> Function:
        @click.argument(
            "words",
            nargs=-1,
            metavar=usage,
            shell_complete=_complete_directory if "directory" in arguments else None,
        )
        @click.option(
            "--queue",
            "queue_path",
            envvar="TEJ_QUEUE",
            default=DEFAULT_TEJ_DIR,
            show_default=True,
            show_envvar=True,
            metavar="PATH",
            cls=Option,
            help="Directory of the queue on the server.",
        )
        @click.option(
            "--need-runtime",
            "needed",
            multiple=True,
            metavar="NAME",
            cls=Option,
            help="Refuse a queue with another runtime; may be repeated.",
        )
        @host_key_option
        @click.option(
            "--trust-queue",
            is_flag=True,
            cls=Option,
            help="Use a queue that other users can write to.",
        )
        @transport_option
        @json_option
        @functools.wraps(function)
        def command(
            words: tuple[str, ...],
            queue_path: str,
            needed: tuple[str, ...],
            accept_new_host_key: bool,
            trust_queue: bool,
            transport: str | None,
            runtime: str | None = None,
            **options: Any,  # noqa: ANN401 (handed through)
        ) -> Any:  # noqa: ANN401
            from tej.queue.remote import RemoteQueue
            from tej.server.scripts import find_runtime

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
                terminal=sys.stdin.isatty(),
                transport=transport,
                accept_new_host_key=accept_new_host_key,
                trust_queue=trust_queue,
            ) as queue:
                names = (name.removesuffix("...").lower() for name in arguments)
                return function(queue, **dict(zip(names, rest, strict=True)), **options)

        return cast("Function", command)

    return decorate


def _complete_directory(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the shell completions for a word that is a directory or a destination."""
    from click.shell_completion import CompletionItem

    items = [CompletionItem(incomplete, type="dir")]
    if "local:".startswith(incomplete):
        items.append(CompletionItem("local:"))
    return items


def split_words(
    words: tuple[str, ...], arguments: tuple[str, ...]
) -> tuple[str, list[Any]]:
    """Return the destination and the list of arguments in the words of a command line.

    Raises click.UsageError if the destination or an argument is missing, or if there
    are too many words.
    """
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
    """Return whether a word looks like a destination, and not like a file name."""
    return "@" in word or word.startswith("ssh://") or word == "local:"


def ask_for_secret(prompt: str) -> str:
    """Prompt for a secret at the terminal without echo, and return the secret.

    The second and each later line of the prompt starts with a bar, because the text may
    come from the server, and must not look like a prompt of tej itself.
    """
    words = escape(prompt.rstrip(": ")).replace("\n", "\n| ")
    return str(click.prompt(words, hide_input=True, err=True))
