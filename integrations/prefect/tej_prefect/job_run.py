"""`TejJobRun`: handle that reads, awaits, downloads, kills or deletes one job."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prefect.blocks.abstract import JobRun

import tej
from tej_prefect.context import in_thread
from tej_prefect.job_result import OUTPUT_FILES, JobRecord, JobResult
from tej_prefect.run_jobs import wait_for_one


@dataclass(eq=False, repr=False)
class TejJobRun(JobRecord, JobRun[JobResult]):
    """Handle of a job on a server.  The handle stores no connection and no job state.

    Each method has an asynchronous form with the prefix `a`.  All methods raise
    tej.ConnectionFailed if the server cannot be reached after some attempts, and
    tej.JobNotFound if the job does not exist.
    """

    def __repr__(self) -> str:
        return f"<TejJobRun {self.job_id} at {self.destination.place}>"

    def status(self) -> tej.JobStatus:
        """Read the job's status from the server."""
        return self.job.status()

    def wait_for_completion(self, timeout: float | None = None) -> None:  # type: ignore[override]
        """Wait until the job has finished, and copy the job's output to the run's log.

        The method reconnects if the connection is lost.  If the flow run is cancelled,
        the job is killed unless `on_cancel` is "leave" or another flow run has claimed
        the job.

        Raises tej.JobFailed, with the exit code and the last lines of stderr, if the
        job fails.  Raises tej.WaitTimeout if the job has not ended after `timeout`
        seconds.
        """
        self.wait(timeout)

    def wait(
        self,
        timeout: float | None = None,
        *,
        stop: threading.Event | None = None,
        log_output: bool = True,
    ) -> tej.JobStatus:
        """Wait like `wait_for_completion`, and return the job's final status."""
        status = wait_for_one(self, timeout=timeout, stop=stop, log_output=log_output)
        if not status.succeeded:
            raise self.job.queue.failure(status)
        return status

    def fetch_result(self) -> JobResult:  # type: ignore[override]
        """Download the results and the output of a finished job.

        Raises tej.JobFailed if the job did not succeed, and tej.JobStillRunning if the
        job has not ended.
        """
        status = self.status()
        if not status.state.final:
            raise tej.JobStillRunning(
                f"Job '{self.job_id}' at {self.destination.place} has not ended: call "
                "wait_for_completion() first"
            )
        if not status.succeeded:
            raise self.job.queue.failure(status)
        return self.result(status, self.download([*self.results, *OUTPUT_FILES]))

    def download(
        self, patterns: Sequence[str], directory: Path | None = None
    ) -> list[Path]:
        """Download files of a running or ended job.

        `directory` defaults to the subdirectory of `results_directory` with the job's
        id.  Raises tej.DownloadFailed if a file does not exist.
        """
        folder = directory or self.results_directory / self.job_id
        folder.mkdir(parents=True, exist_ok=True)
        return self.job.download(list(patterns), directory=folder)

    def logs(self, stream: str = "stdout", *, tail: int | None = None) -> str:
        """Return the job's output so far, or its last `tail` lines.

        `stream` is "stdout", "stderr" or the path of another file in the job's
        directory.
        """
        pieces = self.job.logs(stream, tail=tail)
        return b"".join(pieces).decode("utf-8", "replace")

    def kill(self) -> tej.JobStatus:
        """Kill the job if it has not ended, and return its status."""
        return self.job.kill()

    def delete(self) -> None:
        """Remove an ended job and its files from the server.

        Raises tej.JobStillRunning if the job has not ended.
        """
        self.job.delete()

    async def astatus(self) -> tej.JobStatus:
        """Asynchronous form of `status`."""
        return await in_thread(self.status)

    async def await_for_completion(self, timeout: float | None = None) -> None:
        """Asynchronous form of `wait_for_completion`."""
        stop = threading.Event()
        await in_thread(lambda: self.wait(timeout, stop=stop), stop)

    async def afetch_result(self) -> JobResult:
        """Asynchronous form of `fetch_result`."""
        return await in_thread(self.fetch_result)

    async def adownload(
        self, patterns: Sequence[str], directory: Path | None = None
    ) -> list[Path]:
        """Asynchronous form of `download`."""
        return await in_thread(lambda: self.download(patterns, directory))

    async def alogs(self, stream: str = "stdout", *, tail: int | None = None) -> str:
        """Asynchronous form of `logs`."""
        return await in_thread(lambda: self.logs(stream, tail=tail))

    async def akill(self) -> tej.JobStatus:
        """Asynchronous form of `kill`."""
        return await in_thread(self.kill)

    async def adelete(self) -> None:
        """Asynchronous form of `delete`."""
        return await in_thread(self.delete)
