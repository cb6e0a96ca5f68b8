"""Jobs from beginning to end: started or found, awaited, their results fetched."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import tej
from tej_prefect.custody import Custody
from tej_prefect.following import follow_in
from tej_prefect.job_run import OUTPUT
from tej_prefect.result import JobResult
from tej_prefect.starting import start

if TYPE_CHECKING:
    from tej_prefect.job import OnCancel, TejJob
    from tej_prefect.job_run import TejJobRun

SHOWN = 3
"""Failures that are told of with the end of their stderr."""


class JobsFailed(tej.JobFailed):
    """Some of many jobs did not end well.

    `results` has all of them, in order, with the files of those that did.
    """

    def __init__(
        self, msg: str | None = None, results: Sequence[JobResult] = ()
    ) -> None:
        super().__init__(msg)
        self.results = list(results)


def run_one(
    job: TejJob,
    *,
    on_cancel: OnCancel | None = None,
    retry_failed: bool | None = None,
    timeout: float | None = None,
    log_output: bool = True,
) -> JobResult:
    """The result of one job.  Raises tej.JobFailed if it does not end well."""
    with Custody(on_cancel or job.on_cancel) as custody:
        (run,) = start([job], custody=custody, retry_failed=retry_failed)
        run.announce()
        ((_, status),) = follow_in(
            custody, [run], timeout=timeout, log_output=log_output
        )
    if not status.succeeded:
        raise run.job.queue.failure(status)
    return run.result(status, run.download([*run.results, *OUTPUT]))


def run_many(
    jobs: Sequence[TejJob],
    *,
    on_cancel: OnCancel = "kill",
    retry_failed: bool | None = None,
    timeout: float | None = None,
    log_output: bool = False,
    raise_on_failure: bool = True,
) -> list[JobResult]:
    """The results of many jobs, in order; all are awaited, whether some fail or not.

    Raises JobsFailed at the end if some have failed.
    """
    with Custody(on_cancel) as custody:
        runs = start(jobs, custody=custody, retry_failed=retry_failed)
        new = sum(not run.found for run in runs)
        custody.logger.info("%d jobs started, %d found", new, len(runs) - new)
        ended = follow_in(custody, runs, timeout=timeout, log_output=log_output)
    statuses = dict(ended)
    files = _fetch(run for run in runs if statuses[run].succeeded)
    results = [run.result(statuses[run], files.get(run, [])) for run in runs]
    failed = [run for run in runs if not statuses[run].succeeded]
    if failed and raise_on_failure:
        told = [str(run.job.queue.failure(statuses[run])) for run in failed[:SHOWN]]
        if len(failed) > SHOWN:
            told.append(f"... and {len(failed) - SHOWN} more")
        count = f"{len(failed)} of {len(runs)} jobs failed:"
        raise JobsFailed("\n".join([count, *told]), results)
    return results


def _fetch(runs: Iterable[TejJobRun]) -> dict[TejJobRun, list[Path]]:
    """Results and output, in one round trip for each place; a job that is wanted twice
    is fetched once."""
    groups: dict[tuple[tej.RemoteQueue, Path], dict[str, list[TejJobRun]]] = {}
    for run in runs:
        key = (run.destination.get_client(), run.results_directory)
        groups.setdefault(key, {}).setdefault(run.job_id, []).append(run)
    fetched: dict[TejJobRun, list[Path]] = {}
    for (queue, directory), jobs in groups.items():
        directory.mkdir(parents=True, exist_ok=True)
        wanted = {
            job_id: [
                *dict.fromkeys([*OUTPUT, *(n for one in same for n in one.results)])
            ]
            for job_id, same in jobs.items()
        }
        outcomes = queue.download_many(wanted, directory=directory)
        for job_id, outcome in outcomes.items():
            if outcome.error is not None:
                raise outcome.error
            fetched |= dict.fromkeys(jobs[job_id], outcome.files)
    return fetched
