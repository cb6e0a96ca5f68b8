"""Client of one queue that uses the tej library and one connection (Python 3)."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

import tej
from tej_vistrails.client import OUTPUT_LINES, ClientError, Work
from tej_vistrails.queue_address import QueueAddress

Document = dict[str, Any]


class LibraryClient:
    """Client that has the methods of `CommandClient` and returns the same objects."""

    def __init__(self, address: QueueAddress) -> None:
        self.address = address
        self._queue: tej.RemoteQueue | None = None

    @property
    def queue(self) -> tej.RemoteQueue:
        """Return the queue, created at the first use.

        Raises ClientError if the address is invalid."""
        if self._queue is None:
            try:
                self._queue = tej.RemoteQueue(
                    self.address.destination,
                    self.address.queue,
                    # The `tej` command also uses TEJ_RUNTIME as the default.
                    self.address.setup_runtime or os.environ.get("TEJ_RUNTIME") or None,
                    self.address.need_runtime or None,
                )
            except ValueError as error:
                raise ClientError("UsageError", str(error)) from error
        return self._queue

    def ensure(self, job_id: str, work: Work, retry: bool = False) -> bool:
        """Start a job unless it exists; return True if a job was started."""
        with _translated():
            resources: dict[str, Any] = dict(work.resources)
            if work.scheduler_options:
                words = map(shlex.split, work.scheduler_options)
                resources["options"] = [word for option in words for word in option]
            job = self.queue.ensure(
                work.directory,
                script=work.script,
                job_id=job_id,
                retry=retry,
                labels=work.labels,
                environment=work.environment,
                resources=tej.Resources(**resources),
                login=work.login,
            )
            return job.is_new

    def status(self, job_id: str) -> Document | None:
        """Return the status of a job, or None if the job does not exist."""
        try:
            with _translated():
                return self.queue.status(job_id).as_dict()
        except ClientError as error:
            if isinstance(error.__cause__, tej.JobNotFound | tej.QueueDoesntExist):
                return None
            raise

    def wait(self, job_id: str) -> Document:
        """Wait until a job has ended, and return its status."""
        with _translated():
            return self.queue.job(job_id).wait().as_dict()

    def download(self, job_id: str, names: Sequence[str], directory: str) -> list[str]:
        """Download files of a job below `directory`; return the paths written."""
        with _translated():
            return [
                str(path)
                for path in self.queue.download(job_id, names, directory=directory)
            ]

    def output(self, job_id: str, stream: str, lines: int | None = OUTPUT_LINES) -> str:
        """Return the last `lines` lines of `stream`; all lines if `lines` is None.

        `stream` is "stdout" or "stderr"."""
        with _translated():
            pieces = self.queue.logs(job_id, stream, tail=lines)
            return b"".join(pieces).decode("utf-8", "replace")

    def kill(self, job_id: str) -> Document:
        """Kill a job unless the job has ended, and return the job's status."""
        with _translated():
            return self.queue.kill(job_id).as_dict()

    def delete(self, job_id: str) -> None:
        """Delete a job that has ended, including its files."""
        with _translated():
            self.queue.delete(job_id)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except tej.Error as error:
        raise ClientError(type(error).__name__, str(error)) from error
