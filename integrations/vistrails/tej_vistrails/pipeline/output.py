"""Output and exit statuses of the commands on pipelines."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import click

import tej
from tej_vistrails.pipeline.execution import MAX_FAILURES, Execution
from tej_vistrails.pipeline.step_state import Step, StepState

SUCCESS, FAILURE, ABSENT, RUNNING = 0, 1, 3, 5
"""Exit statuses of the commands; 3 and 5 mean the same as for `tej`."""


def say(text: str, *, err: bool = False, keep: str = "\n\t") -> None:
    """Print text with control characters escaped, except for those in `keep`.

    Control characters in the output of a job could change the terminal.
    """
    click.echo(tej.escape(text, keep), err=err)


def print_steps(steps: Mapping[str, Step]) -> None:
    """Print a line for each job: the state, the id, the module and its parameters."""
    width = max(len(one.value) for one in StepState)
    for job_id, step in steps.items():
        say(f"{step.state.value:{width}}  {job_id}  {step.job.title}")


def print_failures(execution: Execution, steps: Mapping[str, Step]) -> None:
    """Print the errors of the failed jobs, and the modules of jobs not started."""
    failures = execution.failures(steps)
    for job_id, error in itertools.islice(failures, MAX_FAILURES):
        say(f"{steps[job_id].job.describe()} failed: {error}", err=True)
    if next(failures, None) is not None:
        click.echo("More jobs failed; `status` prints the states of all jobs", err=True)
    not_started = [
        one.job.module.name
        for one in steps.values()
        if one.state is StepState.NOT_STARTED
    ]
    if not_started:
        names = ", ".join(dict.fromkeys(not_started))
        click.echo(
            f"Not started, because a module upstream did not succeed: {names} (`run "
            "--retry` starts the jobs again)",
            err=True,
        )


def exit_status(steps: Mapping[str, Step]) -> int:
    """Return 1 if a job failed, else 5 if a job has not ended, else 3 if a job was not
    submitted, else 0.
    """
    found = {step.state for step in steps.values()}
    if found & {StepState.FAILED, StepState.NOT_STARTED}:
        return FAILURE
    if found & {StepState.RUNNING, StepState.QUEUED}:
        return RUNNING
    return ABSENT if StepState.ABSENT in found else SUCCESS
