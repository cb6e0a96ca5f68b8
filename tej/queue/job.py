"""`Job`: a handle on one job in a queue."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol

from tej.job.escaping import escape_line
from tej.job.status import JobStatus
from tej.queue import delete_request, kill_request, status_requests
from tej.queue.connection import QueueConnection
from tej.queue.grace_period import DEFAULT_GRACE
from tej.queue.lazy_module import LazyModule
from tej.queue.wait_request import Watcher


class JobQueue(Protocol):
    """The attributes of `RemoteQueue` that `Job` uses.

    `Job` does not import `RemoteQueue`, because the module of `RemoteQueue` imports
    `Job`.
    """

    connection: QueueConnection
    watcher: Watcher


if TYPE_CHECKING:
    # With the argument `default`, callers can write `Job` instead of
    # `Job[RemoteQueue]`.  `typing.TypeVar` has this argument only since Python 3.13.
    from typing_extensions import TypeVar

    from tej.queue import download, job_failure, job_files, logs
    from tej.queue.job_files import JobFile

    Queue = TypeVar("Queue", bound=JobQueue, default=Any)
else:
    from typing import TypeVar

    download = LazyModule("tej.queue.download")
    job_files = LazyModule("tej.queue.job_files")
    job_failure = LazyModule("tej.queue.job_failure")
    logs = LazyModule("tej.queue.logs")

    Queue = TypeVar("Queue")


class Job(Generic[Queue]):
    """A handle on a job, with the methods of `RemoteQueue` for one job.

    Each method sends a request to the server, because the handle does not cache the
    job's state.
    """

    def __init__(
        self,
        queue: Queue,
        job_id: str,
        *,
        is_new: bool = False,
        status_then: JobStatus | None = None,
    ) -> None:
        self.queue = queue
        """The `RemoteQueue` that contains the job."""
        self.id = job_id
        self.is_new = is_new
        """Whether the job was started by the call that returned this handle."""
        self.status_then = status_then
        """The job's status when this handle was returned; None if it is unknown."""

    def __repr__(self) -> str:
        return f"<Job {self.id} in {self.queue!r}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Job):
            return NotImplemented
        return self.id == other.id and self.queue is other.queue

    def __hash__(self) -> int:
        return hash(self.id)

    def status(self) -> JobStatus:
        """Return the current status; raise JobNotFound if the job does not exist."""
        return status_requests.get_status(self.queue.connection, self.id)

    @property
    def parameters(self) -> dict[str, str]:
        """The job's parameters in a sweep; each access sends a status request."""
        return dict(self.status().parameters)

    def _repr_html_(self) -> str:
        import html

        return f"<pre>{html.escape(escape_line(repr(self)))}</pre>"

    def wait(self, timeout: float | None = None) -> JobStatus:
        """Wait until the job has ended; return its final status.

        Raises WaitTimeout after `timeout` seconds, and JobNotFound if the job does not
        exist.
        """
        return self.queue.watcher.wait([self.id], timeout)[self.id]

    def result(self, timeout: float | None = None) -> JobStatus:
        """Wait like `wait`, but raise JobFailed if the job did not succeed."""
        status = self.wait(timeout)
        if not status.succeeded:
            raise job_failure.job_failure(self.queue.connection, status)
        return status

    def logs(
        self,
        stream: str = "stdout",
        *,
        follow: bool = False,
        tail: int | None = None,
        lines: bool = True,
    ) -> Iterator[bytes]:
        """Yield the output of the job as lines of bytes; see `RemoteQueue.logs`."""
        return logs.read_stream(
            self.queue.connection,
            self.id,
            stream,
            follow=follow,
            tail=tail,
            lines=lines,
        )

    def files(self, path: str = ".") -> list[JobFile]:
        """Return the entries of a directory of the job; see `RemoteQueue.files`."""
        return job_files.list_files(self.queue.connection, self.id, path)

    def download(
        self,
        files: str | Sequence[str],
        *,
        destination: str | os.PathLike[str] | None = None,
        directory: str | os.PathLike[str] | None = None,
        recursive: bool = True,
        flatten: bool = False,
        progress: Callable[[int], object] | None = None,
    ) -> list[Path]:
        """Download files of the job; see `RemoteQueue.download`."""
        return download.download(
            self.queue.connection,
            self.id,
            files,
            destination,
            directory,
            recursive=recursive,
            flatten=flatten,
            progress=progress,
        )

    def kill(self, *, grace: int = DEFAULT_GRACE) -> JobStatus:
        """Kill the job; see `RemoteQueue.kill`."""
        return kill_request.kill(self.queue.connection, self.id, grace)

    def delete(self) -> None:
        """Delete the job; see `RemoteQueue.delete`."""
        delete_request.delete(self.queue.connection, self.id)
