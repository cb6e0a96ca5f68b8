"""`TejJob`: what is to be run, and where; triggering it starts or finds the job."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from prefect.blocks.abstract import JobBlock
from pydantic import ConfigDict, Field, HttpUrl, field_validator, model_validator
from typing_extensions import Self

import tej
from tej.queue.download import check_name
from tej_prefect.about import DOCUMENTATION, LOGO
from tej_prefect.board import Board
from tej_prefect.context import Run, labels_of_run
from tej_prefect.custody import Custody
from tej_prefect.destination import TejDestination
from tej_prefect.job_run import TejJobRun
from tej_prefect.rendering import render
from tej_prefect.result import JobResult
from tej_prefect.staging import staged
from tej_prefect.starting import start
from tej_prefect.threads import in_thread

OnCancel = Literal["kill", "leave"]


class TejJob(JobBlock[JobResult]):
    """
    A directory, or a script, that runs as a job on a server.

    Its id is the signature of its files, command and environment: the same work is the
    same job, started if it does not exist, and found if it does.

    Example:
        Load a stored job, run it, and fetch its results:
        ```python
        from tej_prefect import TejJob

        job = TejJob.load("BLOCK_NAME")
        run = job.trigger()
        run.wait_for_completion()
        result = run.fetch_result()
        ```
    """

    # What is wrong may be a destination with a secret in it.
    model_config = ConfigDict(hide_input_in_errors=True)

    _block_type_name = "tej Job"
    _block_type_slug = "tej-job"
    _documentation_url = HttpUrl(DOCUMENTATION)
    _logo_url = HttpUrl(LOGO)

    destination: TejDestination = Field(
        default=..., description="The server that runs it."
    )
    directory: Path | None = Field(
        default=None,
        description="The directory that is sent, with the script that is run in it.",
    )
    script: str | None = Field(
        default=None,
        description="The text of a script for `sh`, or with a `#!` line, in its place.",
    )
    command: str | None = Field(
        default=None,
        description=(
            "What is run in the directory: a file of it, with or without arguments, or "
            "a command for the server's shell; `start.sh` if left empty."
        ),
    )
    files: list[str] = Field(
        default_factory=list,
        description=(
            "Patterns of the files that are sent, if not all of the directory; with a "
            "script alone, below the current directory."
        ),
    )
    results: list[str] = Field(
        default_factory=list,
        description="Patterns of the files that are fetched when the job has ended.",
    )
    results_directory: Path = Field(
        default=Path("results"),
        title="Results directory",
        description="Where they are put, in a directory named after the job.",
    )
    resources: tej.Resources | None = Field(
        default=None,
        description="Nodes, cpus, memory, walltime and so on, for a scheduler.",
    )
    environment: dict[str, str] = Field(
        default_factory=dict,
        description="Variables that the job sees; part of what it is, and no secrets.",
    )
    labels: dict[str, str] = Field(
        default_factory=dict,
        description="Words by which `tej list --label` finds it.",
    )
    name: str | None = Field(
        default=None, description="What people call it; else the directory's name."
    )
    parameters: dict[str, Any] | None = Field(
        default=None,
        description=(
            "Values for the directory's templates, which are the files whose names end "
            "in `.j2`, and for `{{ name }}` in the script, the command and the "
            "environment."
        ),
    )
    job_id: str | None = Field(
        default=None,
        title="Job id",
        description="An id of one's own, in place of the signature.",
    )
    login: bool = Field(
        default=False,
        description="Whether what a login shell reads on the server is read first.",
    )
    on_cancel: OnCancel = Field(
        default="kill",
        title="On cancel",
        description="What becomes of it when the flow run is cancelled.",
    )
    retry_failed: bool = Field(
        default=False,
        title="Retry failed",
        description=(
            "Whether a job that failed or is lost is started again when it is asked "
            "for. One that was killed, by whomever, always is, but for retries of "
            "tasks and flows, which do it only with this."
        ),
    )

    @field_validator("results")
    @classmethod
    def _check_results(cls, results: list[str]) -> list[str]:
        for name in results:
            try:
                check_name(name)
            except tej.DownloadFailed as error:
                raise ValueError(f"'{name}' is not in the job's directory") from error
        return results

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.directory is None and self.script is None:
            raise ValueError("give a `directory`, or the text of a `script`")
        if self.script is not None and self.command is not None:
            raise ValueError("give either a `script` or a `command`")
        return self

    @property
    def title(self) -> str:
        """What people call it."""
        if self.name:
            return self.name
        return "script" if self.directory is None else self.directory.resolve().name

    @contextlib.contextmanager
    def spec(self) -> Iterator[tej.JobSpec]:
        """It, for the core; its directory may be a temporary one."""
        values = self.parameters
        command, environment = self.command, self.environment
        if values is not None:
            if command is not None:
                command = render(command, values, "The command")
            environment = {
                name: render(value, values, f"The variable '{name}'")
                for name, value in environment.items()
            }
        with staged(self.directory, self.script, self.files, values) as directory:
            yield tej.JobSpec(
                directory,
                command,
                self.job_id,
                self.title,
                {**labels_of_run(), **self.labels},
                environment,
                self.resources,
                self.login,
            )

    def trigger(self) -> TejJobRun:  # type: ignore[override]
        """Start it, or find it; returns a handle at once.

        Raises tej.Error: what is wrong with the directory, the way to the server, or
        what the server cannot do.
        """
        with Custody() as custody:
            # Whoever waits for it says that it is wanted.
            return start(self, custody, Board(Run()))

    def handle(self, job_id: str, *, found: bool = True) -> TejJobRun:
        """A handle on the job of that id, with what this block says of it."""
        return TejJobRun(
            self.destination,
            job_id,
            name=self.title,
            results=self.results,
            results_directory=self.results_directory,
            on_cancel=self.on_cancel,
            found=found,
        )

    async def atrigger(self) -> TejJobRun:
        """`trigger`, for asynchronous flows."""
        return await in_thread(self.trigger)
