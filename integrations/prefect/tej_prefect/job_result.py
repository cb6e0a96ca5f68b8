"""Job records and results: `JobRecord` identifies a job, `JobResult` describes its
end.

`tej.JobFailed` is the error of a job that failed. `tej/queue/job_failure.py` makes its
text, with the last lines of stderr.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

import tej
from tej_prefect.credentials import TejDestination

OnCancel = Literal["kill", "leave"]
Record = TypeVar("Record", bound="JobRecord")
OUTPUT_FILES = ("_stdout", "_stderr")
PENDING = (tej.JobState.CREATED, tej.JobState.QUEUED)
UNENDED_STATES = (*PENDING, tej.JobState.RUNNING)
STATUS_FIELDS = ("state", "exit_code", "signal", "cut_off", "duration", "host")
"""The fields that a `JobResult` copies from the job's status."""


@dataclass(eq=False)
class JobRecord:
    """Destination and id of a job, and the settings of this flow for the job.

    Records are compared by identity, so two records of the same job are not equal.
    """

    destination: TejDestination
    job_id: str = ""
    """The id; may be empty until the job is submitted."""
    name: str = ""
    results: Sequence[str] = ()
    results_directory: Path = Path("results")
    on_cancel: OnCancel = "kill"
    found: bool = True
    """Whether the job existed before the call that returned this record."""

    def __post_init__(self) -> None:
        self.name = self.name or self.job_id
        self.results = list(self.results)

    @property
    def job(self) -> tej.Job:
        """The `tej.Job` of this record."""
        return self.destination.get_client().job(self.job_id)

    def result(
        self,
        status: tej.JobStatus | None,
        files: Sequence[Path] = (),
        error: str | None = None,
    ) -> JobResult:
        """Return a `JobResult` with the last status and the downloaded files.

        `status` is None if the job was not started or was deleted.
        """
        known: dict[str, Any] = {}
        if status is not None:
            known = {name: getattr(status, name) for name in STATUS_FIELDS}
        directory = (self.results_directory / self.job_id).absolute()
        return JobResult(
            job_id=self.job_id,
            name=self.name,
            error=error,
            place=self.destination.place,
            found=self.found,
            directory=directory if files else None,
            files=[path.absolute() for path in files],
            **known,
        )


def by_queue(records: Iterable[Record]) -> dict[tej.RemoteQueue, dict[str, Record]]:
    """Return for each queue a dictionary of its jobs by their ids."""
    found: dict[tej.RemoteQueue, dict[str, Record]] = {}
    for one in records:
        found.setdefault(one.destination.get_client(), {})[one.job_id] = one
    return found


class JobResult(BaseModel):
    """How a job ended, or why it was not started, with the downloaded files."""

    model_config = ConfigDict(frozen=True)

    job_id: str
    """The id of the job; empty if an error occurred before the id was computed."""
    name: str = ""
    """The job's readable name."""
    state: tej.JobState | None = None
    """The final state; None if the job was not started or was deleted."""
    error: str | None = None
    """The reason for the failure; None if the job succeeded."""
    exit_code: int | None = None
    signal: int | None = None
    cut_off: str | None = None
    """The limit or event that ended the job early, as in `JobStatus.cut_off`."""
    duration: float | None = None
    """Run time in seconds."""
    host: str | None = None
    """The machine that ran the job."""
    place: str
    """The destination and its queue."""
    found: bool = False
    """Whether the job existed already when the flow requested it."""
    directory: Path | None = None
    """The local directory of the downloaded files."""
    files: list[Path] = []
    """The downloaded files, stdout and stderr among them."""

    @property
    def succeeded(self) -> bool:
        """Whether the job ended by itself with exit code 0 and no error occurred."""
        finished = self.state is tej.JobState.FINISHED and self.exit_code == 0
        return finished and self.cut_off is None and self.error is None

    def path(self, name: str) -> Path:
        """Return the local path of a file or directory of the job.

        `name` is the path in the job's directory.  Raises tej.DownloadFailed if the
        file was not downloaded.
        """
        path = None if self.directory is None else self.directory / name
        # Only files in `files` are returned, because the directory may contain files of
        # an earlier job with the same id.
        if path is None or not any(path in (one, *one.parents) for one in self.files):
            raise tej.DownloadFailed(
                f"'{name}' of job '{self.job_id}' was not downloaded: add it to "
                "`results`"
            )
        return path

    @property
    def stdout(self) -> str:
        """The job's stdout; raises tej.DownloadFailed if stdout was not downloaded."""
        return self.path("_stdout").read_text(encoding="utf-8", errors="replace")

    @property
    def stderr(self) -> str:
        """The job's stderr; raises tej.DownloadFailed if stderr was not downloaded."""
        return self.path("_stderr").read_text(encoding="utf-8", errors="replace")
