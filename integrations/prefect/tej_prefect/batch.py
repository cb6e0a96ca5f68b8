"""Run jobs: start or find jobs, wait until the jobs have ended, and download results.

`tej.Batch` contains the loop that submits jobs and waits for them.  This module
connects the batch with the log, the artifacts and the cancellation of a Prefect run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import tej
from tej_prefect.artifacts import PERIOD, JobArtifacts
from tej_prefect.flow_run_cancellation import CancellationGuard
from tej_prefect.job_result import JobRecord, JobResult
from tej_prefect.output_log import Outputs

OnTimeout = Literal["kill", "leave"]
SHOWN = 3
"""Number of failed jobs that `JobsFailed` shows with their errors."""


class JobsFailed(tej.JobFailed):
    """At least one of many jobs failed, was not started or could not be downloaded.

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
        """Return an error whose message describes the first failures in `results`."""
        failed = [one for one in results if not one.succeeded]
        lines = [f"{len(failed)} of {len(results)} jobs failed:"]
        lines += [f"{one.name}: {one.error}" for one in failed[:SHOWN]]
        if len(failed) > SHOWN:
            names = ", ".join(one.name for one in failed[SHOWN : 2 * SHOWN])
            more = ", ..." if len(failed) > 2 * SHOWN else ""
            lines.append(f"and {len(failed) - SHOWN} more: {names}{more}")
        return cls("\n".join(lines), results)


class _Batch:
    """A `tej.Batch` with a cancellation guard and artifacts."""

    def __init__(
        self,
        requests: Sequence[tej.Run],
        guard: CancellationGuard,
        artifacts: JobArtifacts,
        *,
        fetch: bool = True,
        log_output: bool = False,
    ) -> None:
        self.records: dict[tej.RunResult, JobRecord] = {}
        """The `JobRecord` of each job that was started or found."""
        self._guard, self._artifacts = guard, artifacts
        self._outputs = Outputs(guard.logger)
        self._log_output = log_output
        self._is_many = len(requests) > 1
        self._submitting = False
        runs = [
            replace(
                one,
                results=one.results if fetch else (),
                retry=one.retry or self._wants_restart,
            )
            for one in requests
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

        A killed job is restarted only during the submission, and only in the first
        attempt of the task run and flow run: a new flow run after a cancellation needs
        its jobs.  A job that is killed while the flow waits for it is not restarted.
        """
        killed = status.state is tej.JobState.KILLED
        return killed and self._submitting and self._guard.run.attempt == 1

    def _on_submit(self, results: Sequence[tej.RunResult]) -> None:
        self._guard.check()
        self._submitting = True
        records: list[JobRecord] = [one.run.key for one in results]
        if any(one.on_cancel == "kill" for one in records):
            self._guard.submitting = records[0].destination

    def _on_start(self, results: Sequence[tej.RunResult]) -> None:
        self._submitting = False
        known: dict[JobRecord, tej.JobStatus | None] = {}
        for one in results:
            record: JobRecord = one.run.key
            if one.job is None or one.error is not None:
                self._guard.logger.error(
                    "Job %s was not started: %s", record.name, one.error
                )
                continue
            record.job_id, record.found = one.job.id, not one.is_new
            self.records[one] = record
            known[record] = one.status
        # Claim the jobs (see claims.py) before the next group is submitted, because the
        # submission may take a long time.  If another flow run that uses the same jobs
        # is cancelled in this time, it finds the claim and does not kill the jobs.
        self._guard.add(known)
        self._guard.submitting = None
        self._artifacts.add(known, submitted=True)
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
            if _is_deleted(one):
                self._artifacts.set_end(record, None)
            elif one.status is not None:
                self._artifacts.set_end(record, one.status)

    def kill_late(self, timeout: float) -> None:
        """Kill the jobs that have not ended within `timeout` seconds.

        The error of each of these jobs then says how many of them were killed, were
        left running or could not be reached.
        """
        late = {
            one: record
            for one, record in self.records.items()
            if isinstance(one.error, tej.WaitTimeout)
        }
        if not late:
            return
        counts = self._guard.kill(late.values())
        for one, record in late.items():
            one.error = tej.WaitTimeout(
                f"Job '{record.job_id}' had not ended after {timeout:g} seconds: "
                f"{counts}"
            )

    def log_starts(self) -> None:
        """Log a single job, or the numbers of started and found jobs of a batch."""
        records = [*self.records.values()]
        if self._is_many:
            found = sum(one.found for one in records)
            self._guard.logger.info(
                "%d jobs started, %d existing jobs found", len(records) - found, found
            )
            return
        for record in records:
            self._guard.logger.info(
                "Job %s (%s) %s at %s",
                record.job_id,
                record.name,
                "found" if record.found else "started",
                record.destination.place,
            )


def submit(request: tej.Run, guard: CancellationGuard, artifacts: JobArtifacts) -> None:
    """Start or find one job; raise the job's error if the job cannot be started."""
    batch = _Batch([request], guard, artifacts, fetch=False)
    batch.core.start()
    (result,) = batch.core.results
    if result not in batch.records:
        assert result.error is not None
        raise result.error
    batch.log_starts()


def run_one(
    request: tej.Run,
    timeout: float | None = None,
    on_timeout: OnTimeout = "leave",
    *,
    log_output: bool = True,
) -> JobResult:
    """Run one job and return its result; raise the job's error, such as JobFailed."""
    (one,) = _run([request], timeout, on_timeout, log_output=log_output)
    if one.error is not None:
        raise one.error
    return _result(one)


def run_many(
    requests: Sequence[tej.Run],
    timeout: float | None = None,
    on_timeout: OnTimeout = "leave",
    *,
    log_output: bool = False,
) -> list[JobResult]:
    """Run many jobs and return all results, including those of failed jobs.

    The results are in the order of the jobs.
    """
    ran = _run(requests, timeout, on_timeout, log_output=log_output)
    return [_result(one) for one in ran]


def _run(
    requests: Sequence[tej.Run],
    timeout: float | None,
    on_timeout: OnTimeout,
    *,
    log_output: bool,
) -> list[tej.RunResult]:
    with CancellationGuard() as guard:
        artifacts = JobArtifacts(guard.run)
        batch = _Batch(requests, guard, artifacts, log_output=log_output)
        try:
            batch.core.start()
            batch.log_starts()
            artifacts.add_progress()
            batch.core.wait(timeout)
            if timeout is not None and on_timeout == "kill":
                batch.kill_late(timeout)
        finally:
            artifacts.update(last=True)
    return batch.core.results


def _is_deleted(core: tej.RunResult) -> bool:
    return isinstance(core.error, (tej.JobNotFound, tej.QueueNotFound))


def _result(core: tej.RunResult) -> JobResult:
    """Convert a result of `tej.Batch` into a `JobResult`."""
    record: JobRecord = core.run.key
    status = None if _is_deleted(core) else core.status
    error = None if core.error is None else str(core.error)
    return record.result(status, core.files, error)


def wait_for_one(
    record: JobRecord,
    *,
    timeout: float | None = None,
    stop: threading.Event | None = None,
    log_output: bool = True,
) -> tej.JobStatus:
    """Wait until a job has ended, and return its final status even if the job failed.

    Raises WaitTimeout after `timeout` seconds, JobNotFound if the job does not exist,
    and FlowRunCancelled if the flow run is cancelled.
    """
    queue = record.destination.get_client()
    with CancellationGuard(stop) as guard:
        in_flow = guard.run.flow_run_id is not None
        status = _read_status(queue, record.job_id) if in_flow else None
        guard.add({record: status})
        due = time.monotonic() + PERIOD
        artifacts = JobArtifacts(guard.run)
        artifacts.add({record: status})
        outputs = Outputs(guard.logger)
        if log_output:
            outputs.add([record])

        def on_tick() -> None:
            nonlocal status, due
            guard.check()
            if status is None and in_flow and time.monotonic() >= due:
                # Try again to claim the job: the server has not replied yet.
                status = _read_status(queue, record.job_id)
                guard.add({record: status})
                due = time.monotonic() + PERIOD
            artifacts.update()
            outputs.read()

        ids = [record.job_id]
        try:
            for _, end in queue.as_completed(ids, timeout, on_tick=on_tick):
                status = end
                outputs.finish(record)
                artifacts.set_end(record, end)
        finally:
            artifacts.update(last=True)
    assert status is not None
    return status


def _read_status(queue: tej.RemoteQueue, job_id: str) -> tej.JobStatus | None:
    """Return the status of a job; None if it cannot be read at present.

    Raises tej.ConnectionFailed if the server was never reached, because its address may
    be wrong.  Other errors are ignored here: if they persist, the request that waits
    for the job raises them.
    """
    try:
        return queue.statuses([job_id])[job_id]
    except (tej.QueueDoesntExist, tej.RemoteCommandFailure):
        return None
    except tej.ConnectionFailed:
        if not queue.was_reached:
            raise
        return None
