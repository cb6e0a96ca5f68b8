"""Commands for pipelines: `python -m tej_vistrails run FILE`, `status`, `fetch`, ..."""

from __future__ import annotations

import functools
from pathlib import Path

import click

import tej
from tej_vistrails.pipeline.drawing import count_states, draw
from tej_vistrails.pipeline.execution import Execution
from tej_vistrails.pipeline.html_report import write_report
from tej_vistrails.pipeline.options import Loaded, pipeline_options
from tej_vistrails.pipeline.output import (
    exit_status,
    print_failures,
    print_steps,
    say,
)
from tej_vistrails.pipeline.plan import Plan, PlannedJob, format_values
from tej_vistrails.pipeline.ro_crate import write_crate
from tej_vistrails.pipeline.step_state import state_of

_timeout = click.option(
    "--timeout", type=float, metavar="SECONDS", help="Stop waiting after this time."
)
_file = functools.partial(
    click.option, type=click.Path(dir_okay=False, path_type=Path), metavar="FILE"
)
_report = _file("--report", "report_file", help="Write a report (HTML) at the end.")


@click.command()
@pipeline_options
@click.option("--retry", is_flag=True, help="Restart jobs that did not succeed.")
@click.option("--no-wait", is_flag=True, help="Start the jobs, and do not wait.")
@_timeout
@_report
def run(
    loaded: Loaded,
    retry: bool,
    no_wait: bool,
    timeout: float | None,
    report_file: Path | None,
) -> int:
    """Run a pipeline, and wait until its jobs have ended.

    FILE is a document (.json, .yaml) or a Python file that sets `pipeline`.

    Jobs that run or have succeeded are not started again.  Ctrl-C ends the command, but
    not the jobs.

    Exit status: 0 all jobs succeeded, 1 a job failed, 5 jobs still run.
    """
    execution = loaded.execution()
    execution.submit(retry=retry)
    number, total = len(execution.started), len(execution.plan.jobs)
    click.echo(f"{number} of {total} jobs started", err=True)
    if no_wait:
        steps = execution.steps()
        print_steps(steps)
        return exit_status(steps)
    return _wait(execution, timeout, report_file)


@click.command()
@pipeline_options
@_timeout
@_report
def wait(loaded: Loaded, timeout: float | None, report_file: Path | None) -> int:
    """Wait until the submitted jobs have ended.

    Exit status: 0 all jobs succeeded, 1 a job failed, 3 a job was not submitted.
    """
    execution = loaded.execution()
    return _wait(execution, timeout, report_file)


def _wait(
    execution: Execution,
    timeout: float | None,
    report_file: Path | None,
) -> int:
    def on_end(job: PlannedJob, status: tej.JobStatus) -> None:
        say(f"{job.title}: {status.describe()} ({job.job_id})", err=True)

    steps = execution.wait(timeout, on_end=on_end)
    print_steps(steps)
    print_failures(execution, steps)
    if report_file is not None:
        write_report(execution, report_file)
        click.echo(f"Report: {report_file}", err=True)
    return exit_status(steps)


@click.command()
@pipeline_options
def status(loaded: Loaded) -> int:
    """Print the state of each job.

    Exit status: 0 all jobs succeeded, 1 a job failed, 3 a job was not submitted, 5 jobs
    still run.
    """
    execution = loaded.execution()
    steps = execution.steps()
    print_steps(steps)
    print_failures(execution, steps)
    return exit_status(steps)


@click.command()
@pipeline_options
def kill(loaded: Loaded) -> None:
    """Kill the jobs that are running or queued.

    Other pipelines that use the same jobs are affected as well.
    """
    execution = loaded.execution()
    for job_id in execution.kill():
        name = execution.plan.jobs[job_id].module.name
        click.echo(f"Killed {job_id} ({name})")


@click.command()
@pipeline_options
@click.option(
    "-d",
    "--directory",
    default=".",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="Local directory for the files.  [default: .]",
)
@click.option(
    "-m",
    "--module",
    "modules",
    multiple=True,
    metavar="NAME",
    help="Download the outputs of this module.  [default: the last modules]",
)
def fetch(loaded: Loaded, directory: str, modules: tuple[str, ...]) -> int:
    """Download results.

    The outputs of each job that has succeeded are placed in DIR/MODULE.
    """
    execution = loaded.execution()
    for folder in execution.fetch(directory, modules):
        click.echo(folder)
    return exit_status(execution.steps())


@click.command()
@pipeline_options
def ids(loaded: Loaded) -> None:
    """Print the id of each job with its module; no server is needed."""
    for job_id, job in Plan(loaded.work).jobs.items():
        click.echo(f"{job_id}  {job.title}")


@click.command()
@pipeline_options
@_file("-o", "--output", help="SVG file.  [default: stdout]")
@click.option("--no-states", is_flag=True, help="Do not request states from a server.")
def graph(loaded: Loaded, output: Path | None, no_states: bool) -> None:
    """Draw the pipeline as SVG, coloured by the states of the jobs."""
    base = loaded.work.points[0][1]
    if no_states:
        text = draw(base)
    else:
        execution = loaded.execution()
        text = draw(base, count_states(execution.plan, execution.steps()))
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")


@click.command()
@pipeline_options
@_file("-o", "--output", help="HTML file.  [default: PIPELINE.html]")
def report(loaded: Loaded, output: Path | None) -> None:
    """Write a report.

    The report is one HTML file with the graph, the parameters, the results and images.
    """
    execution = loaded.execution()
    target = output or Path(f"{execution.plan.name}.html")
    click.echo(write_report(execution, target))


@click.command()
@pipeline_options
def history(loaded: Loaded) -> None:
    """List all jobs that this pipeline has submitted.

    The oldest job is first.  The list includes jobs with parameter values that have
    since changed.
    """
    try:
        jobs = loaded.open_queue().jobs(
            labels={"pipeline": loaded.work.name}, sort="submitted"
        )
    except tej.QueueNotFound:
        return
    for job in jobs:
        submitted = job.submitted
        time = (
            submitted.astimezone().strftime("%Y-%m-%d %H:%M:%S") if submitted else "-"
        )
        state = state_of(job, is_used=True)
        words = [job.labels.get("module", ""), *format_values(job.parameters)]
        say(f"{time}  {state:11}  {job.job_id}  {' '.join(words)}", keep="")


@click.command()
@pipeline_options
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
def crate(loaded: Loaded, directory: Path) -> None:
    """Write a Workflow Run RO-Crate.

    The results, and a description of all jobs that led to them, are written to
    DIRECTORY.
    """
    execution = loaded.execution()
    click.echo(write_crate(execution, loaded.file, directory))


COMMANDS = [run, status, wait, kill, fetch, ids, graph, report, history, crate]
