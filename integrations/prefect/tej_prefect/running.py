"""Jobs from beginning to end: started or found, awaited, their results fetched."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import tej
from tej.queue.download import Downloaded
from tej_prefect.board import Board
from tej_prefect.custody import Custody
from tej_prefect.following import End, follow_in
from tej_prefect.job_run import OUTPUT, TejJobRun
from tej_prefect.result import JobResult
from tej_prefect.starting import start, start_many

if TYPE_CHECKING:
    from tej_prefect.job import OnCancel, TejJob

SHOWN = 3
"""Failures that are told of with the end of their stderr."""


class JobsFailed(tej.JobFailed):
    """Some of many jobs did not end well, were not started, or could not be fetched.

    `results` has all of them, in order, with the files of those that did.
    """

    def __init__(
        self, msg: str | None = None, results: Sequence[JobResult] = ()
    ) -> None:
        super().__init__(msg)
        self.results = list(results)


def as_asked(
    job: TejJob, *, on_cancel: OnCancel | None = None, retry_failed: bool | None = None
) -> TejJob:
    """The job with what is given here in place of what it says."""
    given = {"on_cancel": on_cancel, "retry_failed": retry_failed}
    update = {name: value for name, value in given.items() if value is not None}
    return job.model_copy(update=update) if update else job


def run_one(
    job: TejJob,
    *,
    on_cancel: OnCancel | None = None,
    retry_failed: bool | None = None,
    timeout: float | None = None,
    log_output: bool = True,
) -> JobResult:
    """The result of one job.  Raises tej.JobFailed if it does not end well."""
    wanted = as_asked(job, on_cancel=on_cancel, retry_failed=retry_failed)
    with Custody() as custody:
        board = Board(custody.run)
        run = start(wanted, custody, board)
        ends = follow_in(custody, [run], board, timeout=timeout, log_output=log_output)
    end = ends[run]
    if isinstance(end, tej.Error):
        raise end
    if not end.succeeded:
        raise run.job.queue.failure(end)
    return run.result(end, run.download([*run.results, *OUTPUT]))


def run_many(
    jobs: Sequence[TejJob],
    *,
    on_cancel: OnCancel | None = None,
    retry_failed: bool | None = None,
    timeout: float | None = None,
    log_output: bool = False,
    raise_on_failure: bool = True,
) -> list[JobResult]:
    """The results of many jobs, in order; all are awaited, whether some fail or not.

    Raises JobsFailed at the end if some have failed.
    """
    wanted = [
        as_asked(job, on_cancel=on_cancel, retry_failed=retry_failed) for job in jobs
    ]
    with Custody() as custody:
        board = Board(custody.run)
        started = start_many(wanted, custody, board)
        runs = [run for run in started if isinstance(run, TejJobRun)]
        new = sum(not run.found for run in runs)
        custody.logger.info("%d jobs started, %d found", new, len(runs) - new)
        ends = follow_in(custody, runs, board, timeout=timeout, log_output=log_output)
    files = _fetch(run for run in runs if _ended_well(ends[run]))
    results = [
        _result(job, run, ends, files) for job, run in zip(jobs, started, strict=True)
    ]
    if raise_on_failure and not all(one.succeeded for one in results):
        raise JobsFailed(_tell(jobs, started, ends, results), results)
    return results


def _ended_well(end: End) -> bool:
    return isinstance(end, tej.JobStatus) and end.succeeded


def _result(
    job: TejJob,
    run: TejJobRun | tej.Error,
    ends: dict[TejJobRun, End],
    files: dict[TejJobRun, Downloaded],
) -> JobResult:
    """How one of many has ended, or what kept it from that."""
    place = job.destination.place
    if isinstance(run, tej.Error):
        return JobResult(job_id=job.job_id or "", place=place, error=str(run))
    end = ends[run]
    if isinstance(end, tej.Error):
        return JobResult(
            job_id=run.job_id, place=place, found=run.found, error=str(end)
        )
    if not end.succeeded:
        return run.result(end, [], error=end.describe())
    fetched = files[run]
    error = None if fetched.error is None else str(fetched.error)
    return run.result(end, fetched.files, error=error)


def _tell(
    jobs: Sequence[TejJob],
    started: Sequence[TejJobRun | tej.Error],
    ends: dict[TejJobRun, End],
    results: Sequence[JobResult],
) -> str:
    """What has failed; of a few, how."""
    failed = [number for number, one in enumerate(results) if not one.succeeded]
    told = [f"{len(failed)} of {len(results)} jobs failed:"]
    for number in failed[:SHOWN]:
        run = started[number]
        end = ends[run] if isinstance(run, TejJobRun) else run
        if isinstance(run, tej.Error) or isinstance(end, tej.Error) or end.succeeded:
            told.append(f"Job '{jobs[number].title}': {results[number].error}")
        else:
            told.append(str(run.job.queue.failure(end)))
    if len(failed) > SHOWN:
        told.append(f"... and {len(failed) - SHOWN} more")
    return "\n".join(told)


def _fetch(runs: Iterable[TejJobRun]) -> dict[TejJobRun, Downloaded]:
    """Results and output, in one round trip for each place; a job that is wanted twice
    is fetched once."""
    groups: dict[tuple[tej.RemoteQueue, Path], dict[str, list[TejJobRun]]] = {}
    for run in runs:
        key = (run.destination.get_client(), run.results_directory)
        groups.setdefault(key, {}).setdefault(run.job_id, []).append(run)
    fetched: dict[TejJobRun, Downloaded] = {}
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
            fetched |= dict.fromkeys(jobs[job_id], outcome)
    return fetched
