"""`JobResult`: what is left of a job once it has ended: how, and its files."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

import tej


class JobResult(BaseModel):
    """A job that has ended, and what was fetched of it."""

    model_config = ConfigDict(frozen=True)

    job_id: str
    """Empty if it could not even be named."""
    state: tej.JobState | None = None
    """None if it was not started, or is gone."""
    error: str | None = None
    """What went wrong, in words; None if nothing did."""
    exit_code: int | None = None
    signal: int | None = None
    duration: float | None = None
    """Seconds that it ran."""
    host: str | None = None
    """The machine that it ran on."""
    place: str
    """The destination and its queue."""
    found: bool = False
    """Whether it had been there before it was asked for."""
    directory: Path | None = None
    """Where its files are, on the machine that fetched them."""
    files: list[Path] = []
    """What was fetched, its output among them."""

    @property
    def succeeded(self) -> bool:
        """Whether it finished with exit code 0, and was fetched."""
        finished = self.state is tej.JobState.FINISHED and self.exit_code == 0
        return finished and self.error is None

    def path(self, name: str) -> Path:
        """A fetched file, or a directory of such, by its path in the job; raises
        tej.DownloadFailed."""
        path = None if self.directory is None else self.directory / name
        # The directory may have files of an earlier job of that id.
        if path is None or not any(path in (one, *one.parents) for one in self.files):
            raise tej.DownloadFailed(
                f"'{name}' of job '{self.job_id}' was not fetched: name it in `results`"
            )
        return path

    @property
    def stdout(self) -> str:
        """All it printed; raises tej.DownloadFailed if it was not fetched."""
        return self.path("_stdout").read_text(encoding="utf-8", errors="replace")

    @property
    def stderr(self) -> str:
        """All it printed there; raises tej.DownloadFailed if it was not fetched."""
        return self.path("_stderr").read_text(encoding="utf-8", errors="replace")
