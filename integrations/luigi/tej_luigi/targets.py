"""`TejFileTarget`, a file on the server, and `TejJobTarget`, a job that succeeded."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from types import TracebackType
from typing import Any, Protocol

import luigi
from luigi.format import FileWrapper, Format, get_default_format
from luigi.target import FileSystemTarget

from tej.errors import JobNotFound
from tej.job.status import JobStatus
from tej_luigi.config import QueueAddress, find_address
from tej_luigi.connections import open_queue
from tej_luigi.files import TejFileSystem


class TejJobTarget(luigi.Target):
    """A job in a queue.

    The target exists if the job has finished with exit code 0.
    """

    def __init__(
        self,
        job_id: str,
        destination: str | None = None,
        queue: str | None = None,
        *,
        address: QueueAddress | None = None,
    ) -> None:
        self._job_id = job_id
        self.address = address or find_address(destination, queue)

    @property
    def job_id(self) -> str:
        """The id of the job."""
        return self._job_id

    def __str__(self) -> str:
        return f"job '{self.job_id}' in {self.address.queue} on {self.address.shown}"

    def __repr__(self) -> str:
        return f"<TejJobTarget {self}>"

    def exists(self) -> bool:
        """Return whether the job has finished with exit code 0.

        Raises tej.Error if the server does not reply.
        """
        status = self.status()
        return status is not None and status.succeeded

    def status(self) -> JobStatus | None:
        """Return the status of the job on the server; None if no such job exists."""
        return open_queue(self.address).statuses.get(self.job_id)

    def file(
        self, path: str | os.PathLike[str], format: Format | None = None
    ) -> TejFileTarget:
        """Return a target for a file in the job's directory on the server.

        Raises JobNotFound if the job does not exist.
        """
        status = self.status()
        if status is None:
            raise JobNotFound(f"There is no {self}")
        return TejFileTarget(
            str(status.directory / path), format=format, address=self.address
        )


class HasJob(Protocol):
    """A task with a job."""

    @property
    def job_id(self) -> str: ...

    @property
    def address(self) -> QueueAddress: ...

    def job_succeeded(self) -> bool: ...


class TaskJobTarget(TejJobTarget):
    """The job of a task.

    The id of the job may depend on inputs of the task that do not exist yet.
    """

    def __init__(self, task: HasJob) -> None:
        super().__init__("", address=task.address)
        self._task = task

    @property
    def job_id(self) -> str:
        """The id of the job; raises an error if the task's inputs do not exist yet."""
        return self._task.job_id

    def __str__(self) -> str:
        # The text does not contain the job's id, because Luigi logs targets even if the
        # id cannot be computed yet.
        return f"job of {self._task} in {self.address.queue} on {self.address.shown}"

    def exists(self) -> bool:
        """Return whether the job has finished with exit code 0.

        Return False if the task needs an input that does not exist yet.
        """
        return self._task.job_succeeded()


class TejFileTarget(FileSystemTarget):
    """A file on the server; its path is absolute or relative to the home directory.

    A reader downloads the file before reading.  A writer uploads the file when the
    writer is closed, and the file is created on the server when the upload is complete.
    Methods raise tej.Error, as in `TejFileSystem`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        format: Format | None = None,
        destination: str | None = None,
        queue: str | None = None,
        *,
        address: QueueAddress | None = None,
    ) -> None:
        super().__init__(path)
        self.format = get_default_format() if format is None else format
        self.address = address or find_address(destination, queue)

    def __repr__(self) -> str:
        return f"<TejFileTarget {self.path} on {self.address.shown}>"

    @property
    def fs(self) -> TejFileSystem:
        """The file system of the server."""
        return TejFileSystem(address=self.address)

    def open(self, mode: str = "r") -> Any:
        """Open the file for reading ("r") or writing ("w"), in the target's format.

        Raises PathNotFound if a file opened for reading does not exist.
        """
        kind = mode.replace("b", "").replace("t", "")
        if kind == "w":
            return self.format.pipe_writer(_Upload(self.path, self.fs))
        if kind == "r":
            # Formats such as Gzip start a process, which needs a file descriptor.
            file = tempfile.TemporaryFile()  # noqa: SIM115 (closed by the reader)
            try:
                self.fs.download(self.path, file)
                file.seek(0)
            except BaseException:
                file.close()
                raise
            return self.format.pipe_reader(FileWrapper(file))
        raise ValueError(f"mode must be 'r' or 'w', not {mode!r}")

    def put(self, local_path: str | os.PathLike[str]) -> None:
        """Upload a local file to the path of the target."""
        self.fs.put(local_path, self.path)

    def get(self, local_path: str | os.PathLike[str]) -> None:
        """Download the target's file to a local path."""
        self.fs.get(self.path, local_path)


class _Upload(io.BufferedWriter):
    """A local temporary file that is uploaded when it is closed.

    The temporary file has no name, so no file is left if the process dies.
    """

    def __init__(self, path: str, file_system: TejFileSystem) -> None:
        self._path = path
        self._file_system = file_system
        raw = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (closed with this)
        super().__init__(raw)

    def close(self) -> None:
        """Upload and close the file; do nothing if the file is closed already."""
        if self.closed:
            return
        try:
            self.flush()
            with os.fdopen(os.dup(self.fileno()), "rb") as file:
                self._file_system.upload(file, self._path)
        finally:
            super().close()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._discard()

    def __del__(self) -> None:
        # If the writer is garbage-collected without close(), nothing is uploaded,
        # because the content may be incomplete.
        self._discard()

    def _discard(self) -> None:
        if not self.closed:
            with contextlib.suppress(Exception):
                super().close()
