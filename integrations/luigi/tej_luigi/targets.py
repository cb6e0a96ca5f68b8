"""Targets of a task: `TejJobTarget` is a job, `TejResultTarget` is a result of a job.

A result is fetched to this machine when its target is opened. `TejTask.complete` in
`task.py` decides whether a task is complete.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, overload

import luigi
from luigi.format import Format

from tej import JobNotFound, JobStatus, OptionalFile
from tej_luigi.config import QueueAddress, find_address
from tej_luigi.files import TejFileTarget
from tej_luigi.result_cache import ResultFiles
from tej_luigi.status_cache import open_queue


class HasResults(Protocol):
    """A task whose job has results."""

    @property
    def job_id(self) -> str: ...

    @property
    def address(self) -> QueueAddress: ...

    def job_succeeded(self) -> bool: ...

    def fetch_results(self) -> Path: ...


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
        return open_queue(self.address).status(self.job_id)

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


class TaskJobTarget(TejJobTarget):
    """The job of a task.

    The id of the job may depend on inputs of the task that do not exist yet.
    """

    def __init__(self, task: HasResults) -> None:
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


class TejResultTarget(luigi.LocalTarget):
    """A result file of a job.

    `open()` and `path` fetch the job's results to this machine if necessary.  `open()`
    and `path` raise tej.Error if the job has not finished with exit code 0.
    """

    def __init__(
        self, task: HasResults, name: str, format: Format | None = None
    ) -> None:
        self.task = task
        self.name = name
        super().__init__(name, format)

    def __str__(self) -> str:
        # `path` is not used here: Luigi logs targets, and logging must not fetch files.
        return f"{self.name} of {self.task}"

    def __repr__(self) -> str:
        return f"<TejResultTarget {self}>"

    @property
    def path(self) -> str:
        """The path of the file on this machine; fetches the results if necessary."""
        return str(self.task.fetch_results() / self.name)

    @path.setter
    def path(self, value: str) -> None:
        # The constructor of luigi.LocalTarget sets `path`, but the value is ignored.
        pass

    def exists(self) -> bool:
        """Return whether the job has succeeded and the file is among its results.

        For an optional file or a pattern, the results are fetched if necessary.
        """
        if not self.task.job_succeeded():
            return False
        is_optional = isinstance(self.name, OptionalFile) or glob.has_magic(self.name)
        return not is_optional or os.path.lexists(self.path)

    def open(self, mode: str = "r") -> Any:
        """Open the file for reading, in the target's format."""
        if "r" not in mode:
            raise ValueError(f"{self} is read-only: mode must be 'r', not {mode!r}")
        return super().open(mode)


class ResultList(Sequence[TejResultTarget]):
    """List of the results that match a pattern; fetched when the list is first read.

    Before the job has succeeded, the list contains one target, whose name is the
    pattern and which does not exist.
    """

    def __init__(self, task: HasResults, pattern: str) -> None:
        self.task = task
        self.pattern = pattern

    def __repr__(self) -> str:
        return f"<ResultList {self.pattern} of {self.task}>"

    def _targets(self) -> list[TejResultTarget]:
        if not self.task.job_succeeded():
            return [TejResultTarget(self.task, self.pattern)]
        names = ResultFiles(self.task.fetch_results(), [self.pattern]).names()
        return [TejResultTarget(self.task, name) for name in names]

    def __len__(self) -> int:
        return len(self._targets())

    def __iter__(self) -> Iterator[TejResultTarget]:
        return iter(self._targets())

    @overload
    def __getitem__(self, index: int) -> TejResultTarget: ...
    @overload
    def __getitem__(self, index: slice) -> list[TejResultTarget]: ...
    def __getitem__(
        self, index: int | slice
    ) -> TejResultTarget | list[TejResultTarget]:
        return self._targets()[index]


def result_targets(
    task: HasResults, patterns: Iterable[str]
) -> dict[str, TejResultTarget | ResultList]:
    """Return a target for each file name, and a list of targets for each pattern.

    The function makes no request to the server.
    """
    return {
        one: (ResultList if glob.has_magic(one) else TejResultTarget)(task, one)
        for one in patterns
    }
