"""`Job`: a queue and an id, with the same verbs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tej.job.status import JobStatus

if TYPE_CHECKING:
    from tej.queue.remote import RemoteQueue


class Job:
    """A job in a queue, by its id.  Holds nothing that could become untrue."""

    def __init__(
        self,
        queue: RemoteQueue,
        job_id: str,
        *,
        is_new: bool = False,
        status_then: JobStatus | None = None,
    ) -> None:
        self.queue = queue
        self.id = job_id
        self.is_new = is_new
        """Whether the call that gave this handle has started the job."""
        self.status_then = status_then
        """Its status as of that call, if that has asked; `status` asks anew."""

    def __repr__(self) -> str:
        return f"<Job {self.id} in {self.queue!r}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Job):
            return NotImplemented
        return self.id == other.id and self.queue is other.queue

    def __hash__(self) -> int:
        return hash(self.id)

    def status(self) -> JobStatus:
        """What the server knows of it now; raises JobNotFound."""
        return self.queue.status(self.id)

    def wait(self, timeout: float | None = None) -> JobStatus:
        """Wait until it has ended; its final status.

        Raises WaitTimeout after `timeout` seconds, and JobNotFound.
        """
        return self.queue.wait([self.id], timeout)[self.id]

    def result(self, timeout: float | None = None) -> JobStatus:
        """Wait for it, as `wait`; raises JobFailed if it has not finished well, with
        what happened, where, and the last lines of its stderr."""
        status = self.wait(timeout)
        if not status.succeeded:
            raise self.queue.failure(status)
        return status

    def logs(
        self, stream: str = "stdout", *, follow: bool = False, tail: int | None = None
    ) -> Iterator[bytes]:
        """Its output, as `RemoteQueue.logs` gives it."""
        return self.queue.logs(self.id, stream, follow=follow, tail=tail)

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
        """Fetch files, as `RemoteQueue.download` does."""
        return self.queue.download(
            self.id,
            files,
            destination=destination,
            directory=directory,
            recursive=recursive,
            flatten=flatten,
            progress=progress,
        )

    def kill(self, *, grace: int = 10) -> JobStatus:
        """End it, as `RemoteQueue.kill` does."""
        return self.queue.kill(self.id, grace=grace)

    def delete(self) -> None:
        """Remove it, as `RemoteQueue.delete` does."""
        self.queue.delete(self.id)
