"""`TejJobRun`: a handle on one job, with all that can be asked of it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect.blocks.abstract import JobRun

import tej
from tej_prefect.destination import TejDestination, load_destination
from tej_prefect.following import follow
from tej_prefect.result import JobResult
from tej_prefect.threads import in_thread

if TYPE_CHECKING:
    from tej_prefect.job import OnCancel

OUTPUT = ("_stdout", "_stderr")


class TejJobRun(JobRun[JobResult]):
    """A job on a server.  Holds nothing that could become untrue, and no connection.

    Each method has an asynchronous form, whose name begins with an `a`.  All raise
    tej.ConnectionFailed if the server cannot be reached after some tries, and
    tej.JobNotFound if the job is not there.
    """

    def __init__(
        self,
        destination: TejDestination,
        job_id: str,
        *,
        name: str | None = None,
        results: Sequence[str] = (),
        results_directory: Path = Path("results"),
        on_cancel: OnCancel = "kill",
        found: bool = True,
    ) -> None:
        self.destination = destination
        self.job_id = job_id
        self.name = name or job_id
        self.results = list(results)
        self.results_directory = results_directory
        self.on_cancel: OnCancel = on_cancel
        self.found = found
        """Whether the call that gave this handle has found the job, not started it."""

    def __repr__(self) -> str:
        return f"<TejJobRun {self.job_id} at {self.destination.place}>"

    def __getstate__(self) -> dict[str, Any]:
        """A stored destination goes by its name: results of tasks hold no secrets."""
        state = dict(vars(self))
        block = self.destination._block_document_name
        if block is not None:
            state["destination"] = block
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if isinstance(state["destination"], str):
            state["destination"] = load_destination(state["destination"])
        vars(self).update(state)

    @property
    def job(self) -> tej.Job:
        """The core's handle."""
        return self.destination.get_client().job(self.job_id)

    def announce(self) -> None:
        """Say in the log which job it is."""
        how = "found" if self.found else "started"
        self.logger.info(
            "Job %s (%s) %s at %s", self.job_id, self.name, how, self.destination.place
        )

    def status(self) -> tej.JobStatus:
        """What the server knows of it now."""
        return self.job.status()

    def wait_for_completion(self, timeout: float | None = None) -> None:  # type: ignore[override]
        """Wait until it has ended well; its output goes to the run's log as it comes.

        Goes on through lost connections.  If the flow run is cancelled the job is
        killed, unless `on_cancel` is "leave" or another flow run wants it.

        Raises tej.JobFailed, with the exit code and the end of stderr, and
        tej.WaitTimeout after `timeout` seconds.
        """
        self.wait(timeout)

    def wait(
        self,
        timeout: float | None = None,
        *,
        stop: threading.Event | None = None,
        log_output: bool = True,
    ) -> tej.JobStatus:
        """The same; returns the final status."""
        status = follow(self, timeout=timeout, stop=stop, log_output=log_output)
        if not status.succeeded:
            raise self.job.queue.failure(status)
        return status

    def fetch_result(self) -> JobResult:  # type: ignore[override]
        """Fetch its results and all of its output; raises tej.JobFailed unless it has
        ended well, and tej.JobStillRunning if it has not ended."""
        status = self.status()
        if not status.state.final:
            raise tej.JobStillRunning(
                f"Job '{self.job_id}' has not ended: wait_for_completion() waits for it"
            )
        if not status.succeeded:
            raise self.job.queue.failure(status)
        return self.result(status, self.download([*self.results, *OUTPUT]))

    def result(
        self, status: tej.JobStatus, files: list[Path], error: str | None = None
    ) -> JobResult:
        """A status and fetched files, as a result; `error` is what went wrong."""
        return JobResult(
            job_id=self.job_id,
            state=status.state,
            error=error,
            exit_code=status.exit_code,
            signal=status.signal,
            duration=status.duration,
            host=status.host,
            place=self.destination.place,
            found=self.found,
            directory=self.results_directory / self.job_id if files else None,
            files=files,
        )

    def download(
        self, patterns: Sequence[str], directory: Path | None = None
    ) -> list[Path]:
        """Fetch files, running or not, to `directory` or the one for its results.

        Raises tej.DownloadFailed for what is not there.
        """
        folder = directory or self.results_directory / self.job_id
        folder.mkdir(parents=True, exist_ok=True)
        return self.job.download(list(patterns), directory=folder)

    def logs(self, stream: str = "stdout", *, tail: int | None = None) -> str:
        """Its output so far, or the last `tail` lines of it; `stream` is "stdout",
        "stderr", or a file of the job's."""
        pieces = self.job.logs(stream, tail=tail)
        return b"".join(pieces).decode("utf-8", "replace")

    def kill(self) -> tej.JobStatus:
        """End it; one that has ended already is left alone."""
        return self.job.kill()

    def delete(self) -> None:
        """Remove it from the server; raises tej.JobStillRunning if it has not ended."""
        self.job.delete()

    async def astatus(self) -> tej.JobStatus:
        """`status`, for asynchronous flows."""
        return await in_thread(self.status)

    async def await_for_completion(self, timeout: float | None = None) -> None:
        """`wait_for_completion`, for asynchronous flows."""
        stop = threading.Event()
        await in_thread(lambda: self.wait(timeout, stop=stop), stop)

    async def afetch_result(self) -> JobResult:
        """`fetch_result`, for asynchronous flows."""
        return await in_thread(self.fetch_result)

    async def adownload(
        self, patterns: Sequence[str], directory: Path | None = None
    ) -> list[Path]:
        """`download`, for asynchronous flows."""
        return await in_thread(lambda: self.download(patterns, directory))

    async def alogs(self, stream: str = "stdout", *, tail: int | None = None) -> str:
        """`logs`, for asynchronous flows."""
        return await in_thread(lambda: self.logs(stream, tail=tail))

    async def akill(self) -> tej.JobStatus:
        """`kill`, for asynchronous flows."""
        return await in_thread(self.kill)

    async def adelete(self) -> None:
        """`delete`, for asynchronous flows."""
        return await in_thread(self.delete)
