"""Template tasks: Prefect tasks whose parameters are rendered into a job directory."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import task_run

import tej
from tej_prefect.destination import TejDestination, load_destination
from tej_prefect.job import TejJob
from tej_prefect.records import JobResult, OnCancel
from tej_prefect.run import run_one
from tej_prefect.tasks import TAGS

LONGEST = 60
"""Maximum length of the parameters in the name of a task run."""


def template_task(
    directory: str | Path,
    destination: TejDestination | str,
    *,
    name: str | None = None,
    command: str | None = None,
    results: Sequence[str] = (),
    results_directory: str | Path = "results",
    environment: Mapping[str, str] | None = None,
    resources: tej.Resources | None = None,
    labels: Mapping[str, str] | None = None,
    login: bool = False,
    on_cancel: OnCancel = "kill",
    retry_failed: bool = False,
    log_output: bool = True,
    **task_options: Any,
) -> Task[..., JobResult]:
    """Make a task that renders its keyword parameters into a template and runs it.

        simulate = template_task("simulate/", "cluster", results=["out.csv"])

        @flow
        def sweep() -> None:
            results = simulate.map(seed=range(100)).result()

    `{{ seed }}` is replaced by the parameter `seed` in files whose names end in `.j2`,
    in `command` and in the values of `environment`.  `destination` is a block or the
    name of a stored block.  A stored block is loaded when the task runs.  Options that
    are not listed here, such as `retries`, are passed to `prefect.task`.
    """

    def run(**parameters: Any) -> JobResult:
        job = TejJob(
            destination=load_destination(destination)
            if isinstance(destination, str)
            else destination,
            directory=Path(directory),
            command=command,
            results=list(results),
            results_directory=Path(results_directory),
            environment=dict(environment or {}),
            resources=resources,
            labels={**_as_labels(parameters), **(labels or {})},
            name=title,
            parameters=parameters,
            login=login,
            on_cancel=on_cancel,
            retry_failed=retry_failed,
        )
        return run_one(job, log_output=log_output)

    title = name or Path(directory).expanduser().resolve().name
    run.__name__ = title
    run.__doc__ = f"Run the job in '{directory}' with these parameters."
    return _as_task(run, task_options)


def tej_task(
    directory: str | Path, destination: TejDestination | str, **options: Any
) -> Callable[[Callable[..., Any]], Task[..., JobResult]]:
    """Return a decorator that makes a template task from a function.

    The parameters of the function are the parameters of the task.

        @tej_task("simulate/", "cluster", results=["out.csv"])
        def simulate(seed: int, steps: int = 1000) -> dict[str, object] | None:
            return {"title": f"run {seed}"}

    The function may return a dictionary of additional values for the template.  The
    arguments of `tej_task` are those of `template_task`.
    """
    known = inspect.signature(template_task).parameters
    for_task = {key: value for key, value in options.items() if key not in known}
    for_job = {key: value for key, value in options.items() if key in known}

    def decorate(function: Callable[..., Any]) -> Task[..., JobResult]:
        signature = inspect.signature(function)
        named = {"name": function.__name__, **for_job}
        template = template_task(directory, destination, **named)

        @functools.wraps(function)
        def run(*arguments: Any, **keywords: Any) -> JobResult:
            bound = signature.bind(*arguments, **keywords)
            bound.apply_defaults()
            more = function(*bound.args, **bound.kwargs) or {}
            return template.fn(**{**bound.arguments, **more})

        return _as_task(run, for_task)

    return decorate


def _as_task(
    function: Callable[..., JobResult], options: Mapping[str, Any]
) -> Task[..., JobResult]:
    defaults = {"cache_policy": NO_CACHE, "task_run_name": _name_of_run}
    tags = TAGS | set(options.get("tags") or ())
    made: Task[..., JobResult] = task(**{**defaults, **options, "tags": tags})(function)
    return made


def _name_of_run() -> str:
    """Return the name of a task run, such as `simulate seed=3`."""
    parameters = _flat(task_run.parameters)
    words = " ".join(f"{name}={value}" for name, value in parameters.items())
    shown = words if len(words) <= LONGEST else f"{words[:LONGEST]}..."
    return f"{task_run.task_name} {shown}".strip()


def _flat(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the parameters of a task run by name.

    Prefect stores the parameters of `**parameters` in one dictionary with this name.
    """
    inner = parameters.get("parameters")
    if isinstance(inner, Mapping) and len(parameters) == 1:
        return inner
    return parameters


def _as_labels(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return the short parameters as labels, for `tej list --label seed=3`."""
    return {
        name: str(value)
        for name, value in parameters.items()
        if isinstance(value, str | int | float)
        and str(value).isprintable()
        and len(str(value)) <= LONGEST
    }
