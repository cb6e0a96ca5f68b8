"""Main program of the command line: runs a command, reports all errors and Ctrl-C."""

from __future__ import annotations

import gc
import os
import sys
from importlib import import_module

import click

from tej import errors
from tej.cli import output
from tej.cli.exit_status import INTERRUPTED, SIGPIPE, of_error
from tej.command_list import COMMANDS, OTHER_NAMES, help_page
from tej.version import __version__

COMMON_OPTIONS = ("-p", "--profile", "--queue", "--json", "--transport")
"""Options of all commands, which some users write before the name of the command."""


class _Tej(click.Group):
    """A click group that imports the module of a command when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for group in COMMANDS.values() for name in group]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        module = import_module(f"tej.cli.{cmd_name.replace('-', '_')}")
        found = module.command
        assert isinstance(found, click.Command)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        known = self.list_commands(ctx)
        if name not in known and not name.startswith("-"):
            from difflib import get_close_matches

            close = get_close_matches(name, known, 1)
            meant = OTHER_NAMES.get(name) or (close[0] if close else None)
            if name == "help":
                meant = " ".join([*(word for word in args[1:2] if word in known), "-h"])
            elif meant is None and args[1:] and args[1] in known:
                meant = f"{args[1]} {name}"
            way_out = "" if meant is None else f"  Did you mean `tej {meant}`?"
            raise click.UsageError(f"No such command '{name}'.{way_out}", ctx)
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if error.option_name not in COMMON_OPTIONS:
                raise
            raise click.UsageError(
                f"{error.option_name} is an option of each command, and follows its "
                f"name: tej COMMAND {error.option_name}",
                ctx,
            ) from error

    def get_help(self, ctx: click.Context) -> str:
        return help_page(ctx.make_formatter().width)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # The program that reads stdout has closed the pipe.  Python flushes stdout
            # at exit and would report the broken pipe again, so stdout is redirected to
            # /dev/null.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return SIGPIPE
        except errors.Error:
            # Errors of tej are raised unchanged. Without this clause, the next clause
            # would replace the errors of tej that are also an OSError.
            raise
        except OSError as error:
            if isinstance(error, FileNotFoundError) and error.filename is None:
                # Only a call that reads the current directory raises a
                # FileNotFoundError without a file name.
                error = FileNotFoundError("the current directory has been removed")
            raise errors.Error(f"Error on this machine: {error}") from error


@click.group(
    cls=_Tej,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, message="tej version %(version)s")
@click.option("-v", "--verbose", count=True)
def tej(verbose: int) -> None:
    """Set the log level, before the command runs; see `help_page` for the help."""
    # The module is imported here, so that the help of a command is fast.
    from tej.cli.log import log_to_stderr

    log_to_stderr(verbose)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line, and exit with the status of the command."""
    words = sys.argv[1:] if arguments is None else arguments
    # A list of 100,000 jobs has millions of objects and hardly any reference cycles.
    # Collect garbage rarely: the default thresholds would add a third to the CPU time.
    gc.set_threshold(100_000, 50, 50)
    _open_closed_streams()
    if "TEJ_COMP_LINE" in os.environ:
        # The module for completion is imported only when a shell requests a completion.
        from tej.cli import bash_completion

        bash_completion.register()
    try:
        status = tej.main(words, prog_name="tej", standalone_mode=False)
    except click.ClickException as error:
        _report(words, error.format_message(), "UsageError", error)
        status = error.exit_code
    except click.Abort:
        click.echo("Interrupted", err=True)
        status = INTERRUPTED
    except errors.Error as error:
        _report(words, str(error), type(error).__name__, None)
        verb = next((word for word in words if not word.startswith("-")), "")
        status = of_error(error, verb)
    sys.exit(status if isinstance(status, int) else 0)


def _open_closed_streams() -> None:
    """Open /dev/null in place of standard streams that the caller has closed (`>&-`).

    If a standard stream stayed closed, the first files or sockets that tej opens would
    get the file descriptors 0 to 2, and output to stdout or stderr would be written to
    these files or sockets.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            mode = "w" if number else "r"
            stream = os.fdopen(number, mode, encoding="utf-8", closefd=False)
            setattr(sys, name, stream)


def _report(
    words: list[str], message: str, kind: str, usage: click.ClickException | None
) -> None:
    try:
        if "--json" in words:
            output.print_json({"error": output.error_as_dict(kind, message)})
        elif usage is not None:
            usage.show()
        else:
            output.say(message, err=True)
    except OSError:
        # Writing to stdout failed, for example because the disk is full.  The message
        # is printed to stderr, and the exit status still indicates the error.
        output.say(message, err=True)
