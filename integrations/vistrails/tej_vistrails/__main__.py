"""`python -m tej_vistrails`: run pipelines, or install tej's package in VisTrails."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import click

import tej
from tej_vistrails.installation import install as install_package
from tej_vistrails.pipeline.commands import COMMANDS
from tej_vistrails.pipeline.output import FAILURE, RUNNING, say


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(tej.__version__, message="tej version %(version)s")
def main() -> None:
    """Run pipelines of jobs, or install tej's package in VisTrails (`install`)."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logging.getLogger("tej").handlers[:] = [handler]


for _command in COMMANDS:
    main.add_command(_command)


@main.command()
@click.option(
    "--directory",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Directory of user packages.  [default: ~/.vistrails/userpackages]",
)
def install(directory: Path | None) -> None:
    """Install tej's package in VisTrails.  Repeat this after each update of tej."""
    click.echo(install_package(directory))


def start() -> None:
    """Run the command, and exit with the command's exit status."""
    try:
        status = main(prog_name="python -m tej_vistrails", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted; the jobs continue to run", err=True)
        status = 130
    except tej.WaitTimeout as error:
        say(str(error), err=True)
        status = RUNNING
    except tej.Error as error:
        say(str(error), err=True)
        status = FAILURE
    sys.exit(status if isinstance(status, int) else 0)


if __name__ == "__main__":
    start()
