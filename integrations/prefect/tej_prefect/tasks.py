"""Prefect tasks: run one job, run many jobs, or perform single steps.

Prefect's cache is disabled for these tasks, because tej itself finds a job that exists
and does not start the job again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import task_run

import tej
from tej_prefect.artifacts import JobArtifacts
from tej_prefect.cancellation import CancellationGuard
from tej_prefect.context import current_run
from tej_prefect.job import TejJob
from tej_prefect.job_result import JobResult, OnCancel
from tej_prefect.job_run import TejJobRun
from tej_prefect.run_jobs import JobsFailed, OnTimeout, run_many, run_one, submit

TAGS = {"tej"}


def name_of_run() -> str:
    """Return the names of the task and of its job, such as `run_job simulation`."""
    parameters = task_run.parameters
    job = parameters.get("job") or parameters.get("run")
    name = getattr(job, "title", None) or getattr(job, "name", None)
    return f"{task_run.task_name} {name or ''}".strip()


def name_of_batch() -> str:
    """Return the name of the task and the number of its jobs: `run_jobs 100`."""
    return f"{task_run.task_name} {len(task_run.parameters.get('jobs') or ())}"


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
    _, request = job.with_options(on_cancel, retry_failed).request()
    return run_one(request, timeout, on_timeout, log_output=log_output)


@task(tags=TAGS, cache_policy=NO_CACHE, task_run_name=name_of_batch)
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

    The task waits for all jobs.  If some jobs failed, could not be started or
    downloaded, or were deleted, the task then raises JobsFailed.  With
    `raise_on_failure=False` the task returns all results instead.  The result of a
    failed job has the reason in its attribute `error`.
    """
    wanted = [job.with_options(on_cancel, retry_failed) for job in jobs]
    requests = [request for _, request in (one.request() for one in wanted)]
    results = run_many(requests, timeout, on_timeout, log_output=log_output)
    if raise_on_failure and not all(one.succeeded for one in results):
        raise JobsFailed.of(results)
    return results


@task(tags=TAGS, cache_policy=NO_CACHE, task_run_name=name_of_run)
def submit_job(job: TejJob, *, retry_failed: bool | None = None) -> TejJobRun:
    """Start or find a job, and return its handle without waiting for its end."""
    run, request = job.with_options(retry_failed=retry_failed).request()
    with CancellationGuard() as guard:
        submit(request, guard, JobArtifacts(current_run()))
    return run


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
    wanted = TejJobRun(
        run.destination,
        run.job_id,
        name=run.name,
        results=run.results if results is None else results,
        results_directory=directory or run.results_directory,
        found=run.found,
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
