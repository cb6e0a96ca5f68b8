"""The `tej` command, and the one place where errors become words and exit statuses."""

from __future__ import annotations

import logging
import os
import sys

import click

from tej import errors
from tej.cli import (
    completion,
    following,
    managing,
    output,
    runtime_check,
    submitting,
)
from tej.cli.exit_status import INTERRUPTED, SIGPIPE, TEJ_FAILED, exit_status
from tej.version import __version__


class _Tej(click.Group):
    """Commands in the order in which one meets them, not that of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # Whoever read us has seen enough; there is nobody left to tell.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return SIGPIPE
        except errors.Error:
            # Some are also what Python calls an OSError.
            raise
        except OSError as error:
            raise errors.Error(f"This machine: {error}") from error


@click.group(
    cls=_Tej,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit status: 0 done, 1 tej's own error, 2 wrong usage, 3 no such job, "
    "4 job exists, 5 job still running; run and wait end as the job did, or with 125.",
)
@click.version_option(__version__, message="tej version %(version)s")
@click.option("-v", "--verbose", count=True, help="Say more; twice: everything.")
def tej(verbose: int) -> None:
    """Run directories as jobs on a server over SSH, and keep track of them.

    A destination is [user@]host[:port], a name from ~/.ssh/config, or "local:" for this
    machine.  It can be left out where TEJ_DESTINATION names one.
    """
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logger = logging.getLogger("tej")
    logger.handlers[:] = [handler]
    logger.setLevel(level)


for command in (
    *submitting.ALL,
    *following.ALL,
    *managing.ALL,
    *runtime_check.ALL,
    *completion.ALL,
):
    tej.add_command(command)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line, and exit with its status."""
    words = sys.argv[1:] if arguments is None else arguments
    _open_closed_streams()
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
        # Those that end as the job did say otherwise that it was tej.
        verb = next((word for word in words if not word.startswith("-")), "")
        status = TEJ_FAILED if verb in ("run", "wait") else exit_status(error)
    sys.exit(status if isinstance(status, int) else 0)


def _open_closed_streams() -> None:
    """Whoever has closed them (`>&-`) does not want to see what goes there; and nothing
    else must be opened under their numbers."""
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
            click.echo(message, err=True)
    except OSError:
        # A full disk behind one of them: the exit status still tells.
        click.echo(message, err=True)
