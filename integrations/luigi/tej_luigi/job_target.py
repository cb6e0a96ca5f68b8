"""`TejJobTarget`: there when a job has finished well on the server."""

from __future__ import annotations

import os

import luigi
from luigi.format import Format

from tej.errors import JobNotFound
from tej.job.status import JobStatus
from tej_luigi.config import Place, find_place
from tej_luigi.file_target import TejFileTarget
from tej_luigi.queues import open_queue


class TejJobTarget(luigi.Target):
    """A job in a queue, by its id."""

    def __init__(
        self,
        job_id: str,
        destination: str | None = None,
        queue: str | None = None,
        *,
        place: Place | None = None,
    ) -> None:
        self.job_id = job_id
        self.place = place or find_place(destination, queue)

    def __str__(self) -> str:
        return f"job '{self.job_id}' in {self.place.queue} on {self.place.shown}"

    def __repr__(self) -> str:
        return f"<TejJobTarget {self}>"

    def exists(self) -> bool:
        """Whether the job has finished with exit code 0.

        Raises tej.Error if that cannot be known, as without a connection.
        """
        status = self.status()
        return status is not None and status.succeeded

    def status(self) -> JobStatus | None:
        """What the server knows of it; None if there is no such job."""
        return open_queue(self.place).statuses.get(self.job_id)

    def file(
        self, path: str | os.PathLike[str], format: Format | None = None
    ) -> TejFileTarget:
        """A file in the job's directory on the server, to be read there.

        Raises JobNotFound.
        """
        status = self.status()
        if status is None:
            raise JobNotFound(f"There is no {self}")
        return TejFileTarget(
            str(status.directory / path), format=format, place=self.place
        )
