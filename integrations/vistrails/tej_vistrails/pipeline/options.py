"""Options and output that the commands on pipelines share."""

from __future__ import annotations

import functools
import getpass
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

import tej
from tej_vistrails.pipeline.document import load
from tej_vistrails.pipeline.errors import PipelineError
from tej_vistrails.pipeline.execution import Execution
from tej_vistrails.pipeline.graph import Exploration, Pipeline
from tej_vistrails.pipeline.plan import Plan, Point
from tej_vistrails.pipeline.plan_states import Step, StepState
from tej_vistrails.pipeline.port_types import infer_type

Function = TypeVar("Function", bound=Callable[..., Any])
SUCCESS, FAILURE, ABSENT, RUNNING = 0, 1, 3, 5
"""Exit statuses of the commands; 3 and 5 mean the same as for `tej`."""


class Loaded:
    """A pipeline from the command line, and the queue that the command line names."""

    def __init__(
        self,
        file: str,
        values: tuple[str, ...],
        grid: tuple[str, ...],
        destination: str | None,
        queue: str | None,
    ) -> None:
        self.file = Path(file)
        document = load(self.file)
        self.work = change(document.pipeline, values, grid)
        self._destination = destination or document.destination
        self._queue = queue or document.queue or tej.DEFAULT_TEJ_DIR

    @contextmanager
    def execution(self) -> Iterator[Execution]:
        """Yield the execution of the pipeline, and finally remove its files."""
        with Execution(self.work, self.open_queue()) as execution:
            yield execution

    def open_queue(self) -> tej.RemoteQueue:
        """Return the queue.  Raises UsageError if no destination is known."""
        return open_queue(self._destination, str(self._queue))


def open_queue(destination: str | None, queue: str) -> tej.RemoteQueue:
    """Return a queue that prompts for passwords if there is a terminal."""
    if not destination:
        raise click.UsageError(
            "No destination: give --destination, set TEJ_DESTINATION, or add "
            "`destination` to the file"
        )
    runtime = click.get_current_context().params.get("runtime")
    ask = getpass.getpass if sys.stdin.isatty() else None
    return tej.shared_queue(destination, queue, setup_runtime=runtime, ask=ask)


def change(
    work: Pipeline | Exploration, values: tuple[str, ...], grid: tuple[str, ...]
) -> Pipeline | Exploration:
    """Return the pipeline with the values of `--set` and the grid of `--explore`."""
    base = work.base if isinstance(work, Exploration) else work
    parameters = dict(work.parameters) if isinstance(work, Exploration) else {}
    for word in values:
        name, text = _split(word, "--set PORT=VALUE")
        base = base.with_values({name: _parse(base, name, text)})
        # A parameter may be given as "port" in one place, and as "module.port" in
        # another.
        place = base.find_port(name)
        parameters = {
            key: options
            for key, options in parameters.items()
            if base.find_port(key) != place
        }
    for word in grid:
        name, text = _split(word, "--explore PORT=VALUE,VALUE")
        parameters[name] = [_parse(base, name, one) for one in text.split(",")]
    return Exploration(base, parameters) if parameters else base


def _split(word: str, form: str) -> tuple[str, str]:
    name, equals, text = word.partition("=")
    if not (name and equals):
        raise click.UsageError(f"'{word}' is not of the form {form}")
    return name, text


def _parse(pipeline: Pipeline, name: str, text: str) -> object:
    module, port = pipeline.find_port(name)
    if port:
        kind = module.inputs[port].type
    else:
        kind = infer_type(module.output_value("value"), name)
    if kind.is_list:
        raise PipelineError(f"Parameter '{name}' is a list: set it in the file")
    try:
        return kind.parse(text)
    except (ValueError, KeyError):
        raise PipelineError(f"Parameter '{name}': '{text}' is not {kind}") from None


def pipeline_options(function: Function) -> Function:
    """Add FILE and the options of a pipeline; call the function with a `Loaded`."""

    @functools.wraps(function)
    def call(
        file: str,
        values: tuple[str, ...],
        grid: tuple[str, ...],
        destination: str | None,
        queue: str | None,
        **more: object,
    ) -> object:
        more.pop("runtime", None)
        return function(Loaded(file, values, grid, destination, queue), **more)

    decorators = [
        click.argument("file", type=click.Path(exists=True, dir_okay=False)),
        click.option(
            "--set", "values", multiple=True, metavar="PORT=VALUE", help="Set a port."
        ),
        click.option(
            "--explore",
            "grid",
            multiple=True,
            metavar="PORT=V1,V2,...",
            help="Run the pipeline for each of these values.",
        ),
    ]
    wrapped: Any = queue_options(call)
    for decorate in reversed(decorators):
        wrapped = decorate(wrapped)
    return wrapped  # type: ignore[no-any-return]


def queue_options(function: Function) -> Function:
    """Add the options that select the queue."""
    decorators: list[Callable[[Any], Any]] = [
        click.option(
            "--destination",
            envvar="TEJ_DESTINATION",
            metavar="[USER@]HOST[:PORT]",
            help="Server.  [env: TEJ_DESTINATION]",
        ),
        click.option(
            "--queue",
            envvar="TEJ_QUEUE",
            metavar="PATH",
            help="Queue on the server.  [env: TEJ_QUEUE; default: ~/.tej]",
        ),
        click.option(
            "--runtime",
            envvar="TEJ_RUNTIME",
            metavar="NAME",
            help="Runtime of a new queue.  [env: TEJ_RUNTIME]",
        ),
    ]
    wrapped: Any = function
    for decorate in reversed(decorators):
        wrapped = decorate(wrapped)
    return wrapped  # type: ignore[no-any-return]


def describe_point(point: Point) -> str:
    """Return the parameters of a point, such as "steps=10 seed=1"."""
    return " ".join(f"{key}={value}" for key, value in point.parameters.items())


def points_of(plan: Plan) -> dict[str, list[str]]:
    """Return the parameters of the points that use a job alone, by job id.

    A job that all points share has an empty list.
    """
    found: dict[str, list[str]] = {job_id: [] for job_id in plan.jobs}
    for point in plan.points:
        for job_id in point.ids.values():
            found[job_id].append(describe_point(point))
    return {
        job_id: [] if len(words) == len(plan.points) else words
        for job_id, words in found.items()
    }


def print_steps(plan: Plan, steps: Mapping[str, Step]) -> None:
    """Print a line for each job: the state, the id, the module and its parameters."""
    points = points_of(plan)
    width = max(len(one.value) for one in StepState)
    for job_id, step in steps.items():
        words = points[job_id]
        suffix = f"  {words[0]}" if len(words) == 1 else ""
        if len(words) > 1:
            suffix = f"  ({len(words)} points)"
        name = step.job.module.name
        click.echo(f"{step.state.value:{width}}  {job_id}  {name}{suffix}")


def print_failures(execution: Execution, steps: Mapping[str, Step]) -> None:
    """Print the failed modules with their stderr, and the modules not started."""
    for job_id, error in execution.failures(steps).items():
        name = steps[job_id].job.module.name
        click.echo(f"Module '{name}' failed: {error}", err=True)
    not_started = [
        one.job.module.name
        for one in steps.values()
        if one.state is StepState.NOT_STARTED and one.is_used
    ]
    if not_started:
        names = ", ".join(dict.fromkeys(not_started))
        click.echo(
            f"Not started, because a module upstream did not succeed: {names} (--retry "
            "starts the jobs again)",
            err=True,
        )


def exit_status(steps: Mapping[str, Step]) -> int:
    """Return the exit status: 0, or 1 failed, 3 not submitted, 5 running."""
    used = {step.state for step in steps.values() if step.is_used}
    if used & {StepState.FAILED, StepState.NOT_STARTED}:
        return FAILURE
    if used & {StepState.RUNNING, StepState.QUEUED}:
        return RUNNING
    return ABSENT if StepState.ABSENT in used else SUCCESS
