"""Prefect tasks: one job from beginning to end, many of them, and the single steps.

None of them is cached: the job itself is what keeps work from being done twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import task_run

import tej
from tej_prefect.board import Board
from tej_prefect.context import current_run
from tej_prefect.custody import Custody
from tej_prefect.job import OnCancel, TejJob
from tej_prefect.job_run import TejJobRun
from tej_prefect.result import JobResult
from tej_prefect.running import as_asked, run_many, run_one
from tej_prefect.starting import start

TAGS = {"tej"}


def name_of_run() -> str:
    """The task and the job that it is about: `run_job simulation`."""
    parameters = task_run.parameters
    subject = parameters.get("job") or parameters.get("run")
    about = getattr(subject, "title", None) or getattr(subject, "name", None)
    return f"{task_run.task_name} {about or ''}".strip()


def name_of_batch() -> str:
    """The task and how many jobs it is about: `run_jobs 100`."""
    return f"{task_run.task_name} {len(task_run.parameters.get('jobs') or ())}"


@task(tags=TAGS, cache_policy=NO_CACHE, task_run_name=name_of_run)
def run_job(
    job: TejJob,
    *,
    on_cancel: OnCancel | None = None,
    retry_failed: bool | None = None,
    timeout: float | None = None,
    log_output: bool = True,
) -> JobResult:
    """Run a job, or find it: wait until it has ended, and fetch its results.

    What is not given is as the job says.  Raises tej.JobFailed, with the exit code and
    the end of stderr, and tej.WaitTimeout after `timeout` seconds, when it goes on.
    """
    return run_one(
        job,
        on_cancel=on_cancel,
        retry_failed=retry_failed,
        timeout=timeout,
        log_output=log_output,
    )


@task(tags=TAGS, cache_policy=NO_CACHE, task_run_name=name_of_batch)
def run_jobs(
    jobs: Sequence[TejJob],
    *,
    on_cancel: OnCancel | None = None,
    retry_failed: bool | None = None,
    timeout: float | None = None,
    log_output: bool = False,
    raise_on_failure: bool = True,
) -> list[JobResult]:
    """Run many jobs in one task, over one connection; the results come in order.

    What is not given is as each job says.  All are awaited, whatever some of them do;
    then JobsFailed is raised if some have failed, could not be started or fetched, or
    are gone, unless `raise_on_failure` is false: each result says how its job ended,
    or its `error`.
    """
    return run_many(
        jobs,
        on_cancel=on_cancel,
        retry_failed=retry_failed,
        timeout=timeout,
        log_output=log_output,
        raise_on_failure=raise_on_failure,
    )


@task(tags=TAGS, cache_policy=NO_CACHE, task_run_name=name_of_run)
def submit_job(job: TejJob, *, retry_failed: bool | None = None) -> TejJobRun:
    """Start a job, or find it, and wait for nothing."""
    with Custody() as custody:
        wanted = as_asked(job, retry_failed=retry_failed)
        return start(wanted, custody, Board(current_run()))


@task(tags=TAGS, cache_policy=NO_CACHE, task_run_name=name_of_run)
def wait_for_job(
    run: TejJobRun, *, timeout: float | None = None, log_output: bool = True
) -> TejJobRun:
    """Wait until a job has ended well; raises as `run_job` does."""
    run.wait(timeout, log_output=log_output)
    return run


@task(tags=TAGS, cache_policy=NO_CACHE, task_run_name=name_of_run)
def fetch_results(
    run: TejJobRun,
    results: Sequence[str] | None = None,
    directory: Path | None = None,
) -> JobResult:
    """Fetch the results of a job that has ended well, and its output.

    `results` and `directory` are in place of what the job says.
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
    """End a job and all of its processes; one that has ended is left alone."""
    return run.kill()


@task(tags=TAGS, cache_policy=NO_CACHE, task_run_name=name_of_run)
def delete_job(run: TejJobRun) -> None:
    """Remove a job that has ended, with its files on the server."""
    run.delete()
