"""Decorators: `@tej_flow` for flows that run as jobs, `@tej_task` for templates."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from prefect import Flow, Task, task
from prefect.cache_policies import NO_CACHE
from prefect.flows import InfrastructureBoundFlow, bind_flow_to_infrastructure
from prefect.runtime import task_run

import tej
from tej_prefect.destination import TejDestination, as_destination
from tej_prefect.job import TejJob
from tej_prefect.job_result import JobResult, OnCancel
from tej_prefect.run_jobs import run_one
from tej_prefect.tasks import TAGS
from tej_prefect.worker import TejWorker

P = ParamSpec("P")
R = TypeVar("R")

LONGEST = 60
"""Maximum length of the parameters in the name of a task run."""
BOUND = ("worker_cls", "work_pool", "job_variables", "launcher", "include_files")
"""Attributes of a flow that is bound to a work pool.  In the job, the flow is not bound
and lacks these attributes."""


class TejFlow(InfrastructureBoundFlow[P, R]):
    """A flow that `tej_flow` has bound to a work pool."""

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Pickle a plain flow without a worker, so that the job needs only Prefect."""
        state = {name: one for name, one in vars(self).items() if name not in BOUND}
        return object.__new__, (Flow,), state

    def with_options(self, **options: Any) -> TejFlow[P, R]:
        """Return a copy of the flow with other options."""
        return _as_tej_flow(super().with_options(**options))


def _as_tej_flow(bound: InfrastructureBoundFlow[P, R]) -> TejFlow[P, R]:
    # Prefect offers no way to choose the class of a bound flow.
    bound.__class__ = TejFlow
    return cast("TejFlow[P, R]", bound)


def tej_flow(
    work_pool: str,
    *,
    include_files: Sequence[str] | None = None,
    python: str = "python",
    **job_variables: Any,
) -> Callable[[Flow[P, R]], TejFlow[P, R]]:
    """Return a decorator that runs a flow as a job of a work pool of type `tej`.

        @tej_flow("hpc", include_files=["*.csv"], cpus=4, walltime="2:00:00")
        @flow
        def study() -> None: ...

        state = study(return_state=True)

    When the flow is called, a worker in the calling process sends the flow's code and
    the files that match `include_files` with the job, and waits for the job.  The flow
    can return a value only if it has a result storage.  The patterns are relative to
    the directory of the flow's file.  `python` is the Python interpreter of the job.
    The other arguments are variables of the work pool.
    """

    def decorate(flow: Flow[P, R]) -> TejFlow[P, R]:
        bound = bind_flow_to_infrastructure(
            flow,
            work_pool=work_pool,
            worker_cls=TejWorker,
            job_variables=job_variables,
            # By default Prefect uses `uv`, which the server may not have.
            launcher={"upload": [sys.executable], "execution": [python]},
            include_files=include_files,
        )
        return _as_tej_flow(bound)

    return decorate


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
            destination=as_destination(destination),
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
        return run_one(job.request()[1], log_output=log_output)

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
