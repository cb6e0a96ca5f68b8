"""Run jobs: start or find the jobs, wait for their ends and download their results.

`tej.Batch` contains the loop that submits and awaits jobs.  This module connects the
batch with the log, the artifacts and the cancellation of a Prefect run.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import tej
from tej_prefect.artifacts import JobArtifacts
from tej_prefect.cancellation import CancellationGuard
from tej_prefect.destination import TejDestination
from tej_prefect.records import OUTPUT_FILES, JobRecord, JobResult, OnCancel
from tej_prefect.wait import Outputs

SHOWN = 3
"""Number of failed jobs that `JobsFailed` shows with their errors."""

Record = TypeVar("Record", bound=JobRecord, covariant=True)


class JobLike(Protocol[Record]):
    """Interface of a job: the part of `TejJob` that this module uses."""

    results: list[str]
    results_directory: Path
    destination: TejDestination
    job_id: str | None
    on_cancel: OnCancel
    retry_failed: bool

    @property
    def title(self) -> str:
        """The job's readable name."""

    def spec(self) -> AbstractContextManager[tej.JobSpec]:
        """Yield the specification of the job; its directory may be temporary."""

    def handle(self, job_id: str, *, found: bool = True) -> Record:
        """Return a record of the job with this id."""


class JobsFailed(tej.JobFailed):
    """Some of many jobs failed, were not started or could not be downloaded.

    The attribute `results` contains the results of all jobs, in the order of the jobs.
    The results of successful jobs include their downloaded files.
    """

    def __init__(
        self, msg: str | None = None, results: Sequence[JobResult] = ()
    ) -> None:
        super().__init__(msg)
        self.results = list(results)

    @classmethod
    def of(cls, results: Sequence[JobResult]) -> JobsFailed:
        """Return an error for these results, with the reasons of the first failures."""
        failed = [one for one in results if not one.succeeded]
        lines = [f"{len(failed)} of {len(results)} jobs failed:"]
        lines += [f"{one.name}: {one.error}" for one in failed[:SHOWN]]
        if len(failed) > SHOWN:
            names = ", ".join(one.name for one in failed[SHOWN : 2 * SHOWN])
            more = ", ..." if len(failed) > 2 * SHOWN else ""
            lines.append(f"and {len(failed) - SHOWN} more: {names}{more}")
        return cls("\n".join(lines), results)


class _Batch(Generic[Record]):
    """A `tej.Batch` with a cancellation guard and artifacts."""

    def __init__(
        self,
        jobs: Sequence[JobLike[Record]],
        guard: CancellationGuard,
        artifacts: JobArtifacts,
        *,
        results: bool = True,
        log_output: bool = False,
    ) -> None:
        self.records: dict[tej.RunResult, Record] = {}
        """Records of the jobs that were started or found."""
        self._guard, self._artifacts = guard, artifacts
        self._outputs = Outputs(guard)
        self._log_output = log_output
        self._is_many = len(jobs) > 1
        self._submitting = False
        runs = [
            tej.Run(
                job.destination.get_client(),
                job.spec,
                [*OUTPUT_FILES, *job.results] if results else (),
                job.results_directory,
                retry=True if job.retry_failed else self._wants_restart,
                key=job,
            )
            for job in jobs
        ]
        self.core = tej.Batch(
            runs,
            on_submit=self._on_submit,
            on_start=self._on_start,
            on_tick=self._on_tick,
            on_end=self._on_end,
        )

    def _wants_restart(self, status: tej.JobStatus) -> bool:
        """Return whether to restart an existing job.

        A killed job is restarted if the task run and flow run are in their first
        attempt, because a new flow run after a cancellation needs its jobs.  A job that
        is killed while the flow waits for the job is not restarted.
        """
        killed = status.state is tej.JobState.KILLED
        return killed and self._submitting and self._guard.run.attempt == 1

    def _on_submit(self, results: Sequence[tej.RunResult]) -> None:
        self._guard.check()
        self._submitting = True
        jobs: list[JobLike[Record]] = [one.run.key for one in results]
        if any(job.on_cancel == "kill" for job in jobs):
            self._guard.submitting = jobs[0].destination

    def _on_start(self, results: Sequence[tej.RunResult]) -> None:
        self._submitting = False
        known: dict[JobRecord, tej.JobStatus | None] = {}
        for one in results:
            job: JobLike[Record] = one.run.key
            if one.job is None or one.error is not None:
                self._guard.logger.error(
                    "Job %s was not started: %s", job.title, one.error
                )
                continue
            record = job.handle(one.job.id, found=not one.is_new)
            self.records[one] = record
            known[record] = one.status
        # Claim the jobs before the next group is submitted, because the submission may
        # take long.  If another flow run is cancelled during the submission, the other
        # flow run then finds the claim and does not kill the jobs.
        self._guard.add(known)
        self._guard.submitting = None
        self._artifacts.add(known)
        if self._log_output:
            self._outputs.add(known, with_names=self._is_many)

    def _on_tick(self) -> None:
        self._guard.check()
        self._artifacts.update()
        self._outputs.read()

    def _on_end(self, results: Sequence[tej.RunResult]) -> None:
        for one in results:
            record = self.records.get(one)
            if record is None or isinstance(one.error, tej.WaitTimeout):
                continue
            self._outputs.finish(record)
            self._guard.remove(record)
            if isinstance(one.error, tej.JobNotFound | tej.QueueDoesntExist):
                self._artifacts.set_end(record, one.error)
            elif one.status is not None:
                self._artifacts.set_end(record, one.status)


def submit(
    job: JobLike[Record], guard: CancellationGuard, artifacts: JobArtifacts
) -> Record:
    """Start or find one job; raise the batch's error if the job cannot be started."""
    batch = _Batch([job], guard, artifacts, results=False)
    batch.core.start()
    (result,) = batch.core.results
    if result not in batch.records:
        assert result.error is not None
        raise result.error
    record = batch.records[result]
    _log_start(guard, record)
    return record


def run_one(
    job: JobLike[Record], *, timeout: float | None = None, log_output: bool = True
) -> JobResult:
    """Run one job and return its result; raise tej.JobFailed if the job fails."""
    ((core, result),) = _run([job], timeout, log_output=log_output)
    if core.error is not None:
        raise core.error
    return result


def run_many(
    jobs: Sequence[JobLike[Record]],
    *,
    timeout: float | None = None,
    log_output: bool = False,
) -> list[JobResult]:
    """Run many jobs and return all results, including those of failed jobs.

    The results are in the order of the jobs.
    """
    ran = _run(jobs, timeout, log_output=log_output, log_counts=True)
    return [result for _, result in ran]


def _run(
    jobs: Sequence[JobLike[Record]],
    timeout: float | None,
    *,
    log_output: bool,
    log_counts: bool = False,
) -> list[tuple[tej.RunResult, JobResult]]:
    with CancellationGuard() as guard:
        artifacts = JobArtifacts(guard.run)
        batch = _Batch(jobs, guard, artifacts, log_output=log_output)
        try:
            batch.core.start()
            records = [*batch.records.values()]
            if log_counts:
                new = sum(not one.found for one in records)
                guard.logger.info("%d jobs started, %d found", new, len(records) - new)
            else:
                for record in records:
                    _log_start(guard, record)
            artifacts.add_progress()
            batch.core.wait(timeout)
        finally:
            artifacts.update(last=True)
    return [(one, _result(one, batch.records.get(one))) for one in batch.core.results]


def _result(core: tej.RunResult, record: JobRecord | None) -> JobResult:
    """Convert a result of `tej.Batch` into a `JobResult`."""
    job: JobLike[JobRecord] = core.run.key
    error = None if core.error is None else str(core.error)
    deleted = isinstance(core.error, tej.JobNotFound | tej.QueueDoesntExist)
    if record is None or core.status is None or deleted:
        return JobResult(
            job_id=(job.job_id or "") if record is None else record.job_id,
            name=job.title,
            place=job.destination.place,
            found=record is not None and record.found,
            error=error,
        )
    return record.result(core.status, core.files, error)


def _log_start(guard: CancellationGuard, record: JobRecord) -> None:
    guard.logger.info(
        "Job %s (%s) %s at %s",
        record.job_id,
        record.name,
        "found" if record.found else "started",
        record.destination.place,
    )
