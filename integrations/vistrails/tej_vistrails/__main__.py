"""`python -m tej_vistrails`: run pipelines, and install the package into VisTrails."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import click

import tej
from tej_vistrails.engine.execution import Execution
from tej_vistrails.engine.installation import install as install_package
from tej_vistrails.engine.monitor import JobMonitor
from tej_vistrails.engine.pipeline import Pipeline

FAILED, SUSPENDED = 1, 5


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(tej.__version__, message="tej version %(version)s")
def main() -> None:
    """Execute pipelines whose modules are jobs, with or without VisTrails."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logging.getLogger("tej").handlers[:] = [handler]


_pipeline = click.argument("pipeline", type=click.Path(exists=True, dir_okay=False))
_version = click.option(
    "--version",
    "tag",
    metavar="TAG|N",
    help="Version of a vistrail.  [default: latest]",
)


@main.command()
@_pipeline
@_version
@click.option("--wait", is_flag=True, help="Wait until all jobs have ended.")
@click.option(
    "--timeout", type=float, metavar="SECONDS", help="Stop waiting after this time."
)
@click.option(
    "--jobs",
    metavar="FILE",
    help="File with job records.  [default: PIPELINE.jobs]",
)
def run(
    pipeline: str, tag: str | None, wait: bool, timeout: float | None, jobs: str | None
) -> int:
    """Execute PIPELINE (.json, .vt, .xml), or continue its execution.

    Exit status: 0 if all modules succeeded, 1 if one failed, 5 if jobs are running.
    If jobs are running, run the command again later, on this or another machine.
    """
    monitor = JobMonitor(jobs or pipeline + ".jobs")
    loaded = Pipeline.load(pipeline, tag)
    with loaded.run(monitor) as execution:
        if wait and execution.suspended:
            report(execution)
            execution.wait(timeout)
        report(execution)
        if execution.errors:
            return FAILED
        return SUSPENDED if execution.suspended else 0


def report(execution: Execution) -> None:
    """Print the failed and the suspended modules of an execution to stderr."""
    for name, suspended in execution.suspended.items():
        what = f"suspended: {suspended} ({suspended.handle.job_id})"
        click.echo(f"{name}: {what}", err=True)
    for name, error in execution.errors.items():
        click.echo(f"{name}: failed: {error}", err=True)


@main.command()
@_pipeline
@_version
def ids(pipeline: str, tag: str | None) -> None:
    """Print the ids of PIPELINE's jobs, each with its module's name."""
    for name, job_id in Pipeline.load(pipeline, tag).job_ids().items():
        click.echo(f"{job_id} {name}")


@main.command()
@click.option(
    "--directory",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="VisTrails' user packages.  [default: ~/.vistrails/userpackages]",
)
def install(directory: Path | None) -> None:
    """Install the package into VisTrails.  Run the command after each update of tej."""
    click.echo(install_package(directory))


def start() -> None:
    """Run the command, and exit with the command's exit status."""
    try:
        status = main(prog_name="python -m tej_vistrails", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted; jobs go on", err=True)
        status = 130
    except tej.WaitTimeout as error:
        click.echo(str(error), err=True)
        status = SUSPENDED
    except tej.Error as error:
        click.echo(str(error), err=True)
        status = FAILED
    sys.exit(status if isinstance(status, int) else 0)


if __name__ == "__main__":
    start()
