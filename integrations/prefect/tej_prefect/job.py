"""`TejJob`: block that describes a job; `trigger` starts or finds the job."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from prefect.blocks.abstract import JobBlock
from pydantic import Field, HttpUrl, field_validator, model_validator
from typing_extensions import Self

import tej
from tej_prefect.artifacts import JobArtifacts
from tej_prefect.cancellation import LEAVE_LABEL, CancellationGuard
from tej_prefect.context import Run, in_thread, labels_of_run
from tej_prefect.destination import (
    DOCUMENTATION_URL,
    LOGO_URL,
    MODEL_CONFIG,
    TejDestination,
)
from tej_prefect.job_directory import job_directory, render
from tej_prefect.job_result import JobResult, OnCancel
from tej_prefect.job_run import TejJobRun
from tej_prefect.run_jobs import Request, submit


class TejJob(JobBlock[JobResult]):
    """
    A directory or a script that runs as a job on a server.

    The job's id is the signature of its files, command and environment. If a job with
    this signature exists on the server, `trigger` finds the job and does not start it
    again.

    Example:
        Load a stored job, run it and fetch its results:
        ```python
        from tej_prefect import TejJob

        job = TejJob.load("BLOCK_NAME")
        run = job.trigger()
        run.wait_for_completion()
        result = run.fetch_result()
        ```
    """

    model_config = MODEL_CONFIG

    _block_type_name = "tej Job"
    _block_type_slug = "tej-job"
    _documentation_url = HttpUrl(DOCUMENTATION_URL)
    _logo_url = HttpUrl(LOGO_URL)

    destination: TejDestination = Field(
        default=..., description="The server that runs the job."
    )
    directory: Path | None = Field(
        default=None,
        description="The directory to upload, which contains the script to run.",
    )
    script: str | None = Field(
        default=None,
        description=(
            "The text of a script, instead of a directory with one; run by `sh` unless "
            "it begins with `#!`."
        ),
    )
    command: str | None = Field(
        default=None,
        description=(
            "The command to run in the directory: a file of the directory with "
            "arguments, or a shell command; `start.sh` by default."
        ),
    )
    files: list[str] = Field(
        default_factory=list,
        description=(
            "Patterns of the files to upload, by default the whole directory; without "
            "a directory, relative to the current one."
        ),
    )
    results: list[str] = Field(
        default_factory=list,
        description="Patterns of the files to download when the job has finished.",
    )
    results_directory: Path = Field(
        default=Path("results"),
        title="Results directory",
        description=(
            "The local directory for the results; each job gets a subdirectory named "
            "by its id."
        ),
    )
    resources: tej.Resources | None = Field(
        default=None,
        description="Nodes, CPUs, memory, time limit and so on, for a scheduler.",
    )
    environment: dict[str, str] = Field(
        default_factory=dict,
        description=(
            "Environment variables of the job, which are part of its signature and "
            "must not be secrets."
        ),
    )
    labels: dict[str, str] = Field(
        default_factory=dict,
        description="Labels of the job, for `tej list --label`.",
    )
    name: str | None = Field(
        default=None,
        description="A readable name of the job; by default the name of the directory.",
    )
    parameters: dict[str, Any] | None = Field(
        default=None,
        description=(
            "Values for templates: files whose names end in `.j2`, and `{{ name }}` in "
            "the script, the command and the environment."
        ),
    )
    job_id: str | None = Field(
        default=None,
        title="Job id",
        description="The id of the job, instead of the signature.",
    )
    login: bool = Field(
        default=False,
        description="Whether to source the login profile before the job starts.",
    )
    after: list[str] = Field(
        default_factory=list,
        description=(
            "Ids of jobs of the same queue that must succeed before this job starts."
        ),
    )
    inputs: dict[str, str] = Field(
        default_factory=dict,
        description=(
            "Files of other jobs as `JOB:PATH`, by their path in this job's directory; "
            "the server copies them before the job starts."
        ),
    )
    on_cancel: OnCancel = Field(
        default="kill",
        title="On cancel",
        description="Whether a cancelled flow run kills or leaves the job.",
    )
    retry_failed: bool = Field(
        default=False,
        title="Retry failed",
        description=(
            "Whether a failed or lost job is started again when it is requested. A "
            "killed job is always started again, except in a retry of a task or flow, "
            "where this setting applies to killed jobs as well."
        ),
    )

    @field_validator("after", mode="before")
    @classmethod
    def _read_ids(cls, after: list[Any]) -> list[Any]:
        """Convert job handles and results in the list to job ids."""
        return [getattr(one, "job_id", one) for one in after]

    @field_validator("inputs", mode="before")
    @classmethod
    def _read_inputs(cls, inputs: dict[str, Any]) -> dict[str, Any]:
        """Convert inputs of the form `(job, path)` to `JOB:PATH`."""
        return {
            name: f"{getattr(one[0], 'job_id', one[0])}:{one[1]}"
            if isinstance(one, tuple | list)
            else one
            for name, one in inputs.items()
        }

    @field_validator("results")
    @classmethod
    def _check_results(cls, results: list[str]) -> list[str]:
        for name in results:
            path = PurePosixPath(name)
            if not path.parts or path.is_absolute() or ".." in path.parts:
                raise ValueError(f"'{name}' is not in the job's directory")
        return results

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.directory is None and self.script is None:
            raise ValueError("set `directory`, or `script` to the text of a script")
        if self.script is not None and self.command is not None:
            raise ValueError("set either `script` or `command`")
        return self

    @property
    def title(self) -> str:
        """The job's readable name."""
        if self.name:
            return self.name
        return "script" if self.directory is None else self.directory.resolve().name

    @contextlib.contextmanager
    def spec(self) -> Iterator[tej.JobSpec]:
        """Yield the specification of the job; its directory may be temporary."""
        values = self.parameters
        cancel = LEAVE_LABEL if self.on_cancel == "leave" else {}
        command, environment = self.command, self.environment
        if values is not None:
            if command is not None:
                command = render(command, values, "The command")
            environment = {
                name: render(value, values, f"The variable '{name}'")
                for name, value in environment.items()
            }
        with job_directory(
            self.directory, self.script, self.files, values
        ) as directory:
            yield tej.JobSpec(
                directory,
                command,
                self.job_id,
                self.title,
                {**labels_of_run(), **cancel, **self.labels},
                environment,
                self.resources,
                self.login,
                after=self.after,
                inputs=self.inputs,
            )

    def trigger(self) -> TejJobRun:  # type: ignore[override]
        """Start or find the job and return its handle at once.

        Raises tej.Error if the directory is invalid, the server cannot be reached or
        the job cannot be started.
        """
        run, request = self.request()
        with CancellationGuard() as guard:
            # `Run()` disables artifacts here, because the method that waits for the
            # job creates artifacts.
            submit(request, guard, JobArtifacts(Run()))
        return run

    def with_options(
        self, on_cancel: OnCancel | None = None, retry_failed: bool | None = None
    ) -> Self:
        """Return a copy of the block with the arguments that are not None."""
        given = {"on_cancel": on_cancel, "retry_failed": retry_failed}
        update = {name: value for name, value in given.items() if value is not None}
        return self.model_copy(update=update) if update else self

    def request(self) -> tuple[TejJobRun, Request]:
        """Return a handle with the block's settings, and the request to start the job.

        The handle has no job id before the job is submitted.
        """
        run = TejJobRun(
            self.destination,
            self.job_id or "",
            name=self.title,
            results=self.results,
            results_directory=self.results_directory,
            on_cancel=self.on_cancel,
            found=False,
        )
        return run, Request(run, self.spec, self.retry_failed)

    async def atrigger(self) -> TejJobRun:
        """Asynchronous form of `trigger`."""
        return await in_thread(self.trigger)
