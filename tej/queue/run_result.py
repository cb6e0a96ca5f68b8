"""Input and output of `run_many`: `Run` is a job, and `RunResult` is its outcome."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from tej.job.spec import JobSpec
from tej.job.status import JobStatus
from tej.queue.job import Job
from tej.queue.remote import RemoteQueue

Spec = JobSpec | Callable[[], AbstractContextManager[JobSpec]]
Retry = bool | Callable[[JobStatus], bool]


@dataclass(eq=False)
class Run:
    """A job for `run_many`: its queue, its `JobSpec`, and the results to fetch."""

    queue: RemoteQueue
    spec: Spec
    """The job's `JobSpec`, or a function that returns a context manager for one.

    The job directory has to exist only inside the context.  The context is left after
    the job has been submitted."""
    results: Sequence[str] | Callable[[JobStatus], Sequence[str]] = ()
    """Names and patterns of the files to fetch, or a function that returns these names
    for the final status of the job."""
    directory: str | PathLike[str] = "."
    """Local directory for the results, which are written to `directory/<job id>`."""
    retry: Retry = False
    """Whether to restart a job that failed, was killed or is lost.

    If `retry` is True, the job is restarted if it is in such a state when the run is
    submitted.  If `retry` is a function, it is called with the job's status, and
    returns whether to restart the job.  The function is also called each time the job
    fails during the wait."""
    fetch_failed: bool = False
    """Whether to fetch the results even if the job did not succeed."""
    key: Any = None
    """Any value by which the caller can recognize this run in the results."""


@dataclass(eq=False)
class RunResult:
    """The outcome of one `Run`; `Batch` updates it while the jobs run."""

    run: Run
    job: Job[RemoteQueue] | None = None
    """Handle on the job, or None if the job could not be submitted."""
    is_new: bool = False
    """Whether this batch started the job."""
    status: JobStatus | None = None
    """The last known status of the job; the final status if the job has ended."""
    files: list[Path] = field(default_factory=list)
    """Local paths of the result files that were written."""
    error: Exception | None = None
    """The error of the job, or None if there is none.

    JobFailed means that the job did not succeed, JobNotFound that the job was deleted,
    and WaitTimeout that the job did not end in time.  Any other error is the reason why
    the job was not submitted, or why its results could not be fetched.  An error that
    is not a tej.Error was raised by the function `spec` or `results`, or by the local
    file system."""

    @property
    def succeeded(self) -> bool:
        """Whether the job succeeded and its results were fetched without an error."""
        return self.error is None and self.status is not None and self.status.succeeded


Observer = Callable[[Sequence[RunResult]], object]


def fail(results: Iterable[RunResult], error: Exception) -> None:
    """Store the error in each result."""
    for result in results:
        result.error = error


def fail_unless_failed(results: Iterable[RunResult], error: Exception) -> None:
    """Store the error in each result that has no error yet.

    An earlier error is not replaced, because it is the cause of the later error.
    """
    fail([one for one in results if one.error is None], error)
