"""Prefect integration of tej: blocks, tasks and a worker for jobs on SSH servers.

A flow starts a job that does not exist, waits for a running job, and downloads the
results of a finished job.

from prefect import flow
from tej_prefect import TejDestination, TejJob, run_job

@flow
def simulate() -> None:
    cluster = TejDestination.load("cluster")
    result = run_job(TejJob(directory="simulation", destination=cluster))
    print(result.path("results.csv").read_text())
"""

from __future__ import annotations

try:
    import prefect  # noqa: F401
except ImportError as error:
    raise ImportError(
        "tej_prefect needs Prefect 3: pip install 'tej[prefect]'"
    ) from error

from tej_prefect.batch import JobsFailed
from tej_prefect.bundles import tej_flow
from tej_prefect.credentials import TejDestination
from tej_prefect.job_result import JobResult
from tej_prefect.jobs import TejJob, TejJobRun
from tej_prefect.storage import TejStorage
from tej_prefect.suspend import (
    kill_jobs_on_cancellation,
    suspend_until_done,
    tej_resumer,
)
from tej_prefect.tasks import (
    delete_job,
    fetch_results,
    kill_job,
    run_job,
    run_jobs,
    submit_job,
    tej_task,
    template_task,
    wait_for_job,
)
from tej_prefect.worker import TejWorker

__all__ = [
    "JobResult",
    "JobsFailed",
    "TejDestination",
    "TejJob",
    "TejJobRun",
    "TejStorage",
    "TejWorker",
    "delete_job",
    "fetch_results",
    "kill_job",
    "kill_jobs_on_cancellation",
    "run_job",
    "run_jobs",
    "submit_job",
    "suspend_until_done",
    "tej_flow",
    "tej_resumer",
    "tej_task",
    "template_task",
    "wait_for_job",
]
