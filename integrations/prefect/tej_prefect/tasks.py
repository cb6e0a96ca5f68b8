"""Prefect tasks that run one job, many jobs, a job template, or one step of a job.

Prefect's cache is disabled for these tasks, because tej itself finds a job that exists
and does not start the job again.  `batch.py` decides which jobs are restarted.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import task_run

import tej
from tej_prefect.batch import JobsFailed, OnTimeout, run_many, run_one
from tej_prefect.credentials import TejDestination, as_destination
from tej_prefect.job_result import JobResult, OnCancel
from tej_prefect.jobs import TejJob, TejJobRun

TAGS = {"tej"}
LONGEST = 60
"""Maximum length of the parameters in the name of a task run, and of a label."""


def name_of_run() -> str:
    """Return the name of a task run, such as `run_job simulation` or `run_jobs 100`.

    The name of the task is followed by the name of the job or the number of jobs.
    """
    parameters = task_run.parameters
    job = parameters.get("job") or parameters.get("run")
    words = getattr(job, "title", None) or getattr(job, "name", None) or ""
    if "jobs" in parameters:
        words = len(parameters["jobs"] or ())
    return f"{task_run.task_name} {words}".strip()


@task(tags=TAGS, cache_policy=NO_CACHE, task_run_name=name_of_run)
def run_job(
    job: TejJob,
    *,
    on_cancel: OnCancel | None = None,
    retry_failed: bool | None = None,
    timeout: float | None = None,
    on_timeout: OnTimeout = "leave",
    log_output: bool = True,
) -> JobResult:
    """Start or find a job, wait until it has finished, and download its results.

    `on_cancel` and `retry_failed` override the job's own settings.

    Raises tej.JobFailed, with the exit code and the last lines of stderr, if the job
    fails.  Raises tej.WaitTimeout if the job has not ended after `timeout` seconds; the
    job continues to run, unless `on_timeout` is "kill".
    """
    request = job.with_options(on_cancel, retry_failed).request()
    return run_one(request, timeout, on_timeout, log_output=log_output)


@task(tags=TAGS, cache_policy=NO_CACHE, task_run_name=name_of_run)
def run_jobs(
    jobs: Sequence[TejJob],
    *,
    on_cancel: OnCancel | None = None,
    retry_failed: bool | None = None,
    timeout: float | None = None,
    on_timeout: OnTimeout = "leave",
    log_output: bool = False,
    raise_on_failure: bool = True,
) -> list[JobResult]:
    """Run many jobs in one task over one connection; return the results in order.

    `on_cancel` and `retry_failed` override the jobs' own settings.  Jobs that have not
    ended after `timeout` seconds continue to run, unless `on_timeout` is "kill".

    The task waits for all jobs.  If any job failed, could not be started or downloaded,
    or was deleted, the task then raises JobsFailed.  With `raise_on_failure=False` the
    task returns all results instead.  The result of a failed job has the reason in its
    attribute `error`.
    """
    wanted = [job.with_options(on_cancel, retry_failed).request() for job in jobs]
    results = run_many(wanted, timeout, on_timeout, log_output=log_output)
    if raise_on_failure and not all(one.succeeded for one in results):
        raise JobsFailed.of(results)
    return results


@task(tags=TAGS, cache_policy=NO_CACHE, task_run_name=name_of_run)
def submit_job(job: TejJob, *, retry_failed: bool | None = None) -> TejJobRun:
    """Start or find a job, and return its handle without waiting until the job ends."""
    return job.with_options(retry_failed=retry_failed).start()


@task(tags=TAGS, cache_policy=NO_CACHE, task_run_name=name_of_run)
def wait_for_job(
    run: TejJobRun, *, timeout: float | None = None, log_output: bool = True
) -> TejJobRun:
    """Wait until a job has finished; raise the same errors as `run_job`."""
    run.wait(timeout, log_output=log_output)
    return run


@task(tags=TAGS, cache_policy=NO_CACHE, task_run_name=name_of_run)
def fetch_results(
    run: TejJobRun,
    results: Sequence[str] | None = None,
    directory: Path | None = None,
) -> JobResult:
    """Download the results and the output of a finished job.

    `results` and `directory` override the job's own settings.
    """
    wanted = replace(
        run,
        results=run.results if results is None else results,
        results_directory=directory or run.results_directory,
    )
    return wanted.fetch_result()


@task(tags=TAGS, cache_policy=NO_CACHE, task_run_name=name_of_run)
def kill_job(run: TejJobRun) -> tej.JobStatus:
    """Kill a job with all its processes if it has not ended; return its status."""
    return run.kill()


@task(tags=TAGS, cache_policy=NO_CACHE, task_run_name=name_of_run)
def delete_job(run: TejJobRun) -> None:
    """Remove an ended job and its files from the server."""
    run.delete()


def template_task(
    directory: str | Path, destination: TejDestination | str, **options: Any
) -> Task[..., JobResult]:
    """Return a task that runs a directory with templates as a job.

        simulate = template_task("simulate/", "cluster", results=["out.csv"])

        @flow
        def sweep() -> None:
            results = simulate.map(seed=range(100)).result()

    `{{ seed }}` is replaced by the parameter `seed` in files whose names end in `.j2`,
    in `command` and in the values of `environment`.  `destination` is a block or the
    name of a stored block.  A stored block is loaded when the task runs.

    Options with the name of a field of `TejJob` apply to the job.  With
    `log_output=False`, no output is logged.  Other options, such as `retries`, are
    passed to `prefect.task`.
    """
    run = _run_template(directory, destination, options)
    run.__doc__ = f"Run the job in '{directory}' with these parameters."
    return _as_task(run, options)


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

    def decorate(function: Callable[..., Any]) -> Task[..., JobResult]:
        signature = inspect.signature(function)
        for_task = {"name": function.__name__, **options}
        run_template = _run_template(directory, destination, for_task)

        @functools.wraps(function)
        def run(*arguments: Any, **keywords: Any) -> JobResult:
            bound = signature.bind(*arguments, **keywords)
            bound.apply_defaults()
            more = function(*bound.args, **bound.kwargs) or {}
            return run_template(**{**bound.arguments, **more})

        return _as_task(run, for_task)

    return decorate


def _run_template(
    directory: str | Path, destination: TejDestination | str, options: dict[str, Any]
) -> Callable[..., JobResult]:
    """Return a function that renders its parameters into a template and runs the job.

    The options of the job are removed from `options`.
    """
    log_output = options.pop("log_output", True)
    given = {name: options.pop(name, None) for name in TejJob.model_fields}
    fields = {name: value for name, value in given.items() if value is not None}
    fields.setdefault("name", Path(directory).expanduser().resolve().name)
    labels = fields.pop("labels", {})

    def run(**parameters: Any) -> JobResult:
        job = TejJob(
            destination=as_destination(destination),
            directory=Path(directory),
            parameters=parameters,
            labels={**_as_labels(parameters), **labels},
            **fields,
        )
        return run_one(job.request(), log_output=log_output)

    run.__name__ = fields["name"]
    return run


def _as_task(
    function: Callable[..., JobResult], options: Mapping[str, Any]
) -> Task[..., JobResult]:
    defaults = {"cache_policy": NO_CACHE, "task_run_name": _name_of_template_run}
    tags = TAGS | set(options.get("tags") or ())
    made: Task[..., JobResult] = task(**{**defaults, **options, "tags": tags})(function)
    return made


def _name_of_template_run() -> str:
    """Return the name of a task run, such as `simulate seed=3`."""
    parameters = task_run.parameters
    inner = parameters.get("parameters")
    # Prefect stores the arguments of `**parameters` as a dictionary `parameters`.
    if isinstance(inner, Mapping) and len(parameters) == 1:
        parameters = inner
    words = " ".join(f"{name}={value}" for name, value in parameters.items())
    shown = words if len(words) <= LONGEST else f"{words[:LONGEST]}..."
    return f"{task_run.task_name} {shown}".strip()


def _as_labels(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return the short parameters as labels, for `tej list --label seed=3`."""
    return {
        name: str(value)
        for name, value in parameters.items()
        if isinstance(value, str | int | float)
        and str(value).isprintable()
        and len(str(value)) <= LONGEST
    }
