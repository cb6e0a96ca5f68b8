"""`TejJob`: Prefect block that describes a job.  `TejJobRun`: handle of a started job.

The directory that is uploaded may be built from a script, selected files or templates.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from prefect.blocks.abstract import JobBlock, JobRun
from pydantic import Field, HttpUrl, field_validator, model_validator
from typing_extensions import Self

import tej
from tej_prefect.artifacts import JobArtifacts
from tej_prefect.batch import submit, wait_for_one
from tej_prefect.context import Run, asynchronous, in_thread, labels_of_run
from tej_prefect.credentials import (
    DOCUMENTATION_URL,
    LOGO_URL,
    MODEL_CONFIG,
    TejDestination,
)
from tej_prefect.flow_run_cancellation import LEAVE_LABEL, CancellationGuard
from tej_prefect.job_result import OUTPUT_FILES, JobRecord, JobResult, OnCancel

SCRIPT = "start.sh"
TEMPLATE_SUFFIX = ".j2"

_jinja = ImmutableSandboxedEnvironment(
    undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False
)


@dataclass(eq=False, repr=False)
class TejJobRun(JobRecord, JobRun[JobResult]):
    """Handle of a job on a server.  The handle stores no connection and no job state.

    Each method has an asynchronous form with the prefix `a`.  All methods raise
    tej.ConnectionFailed if the server cannot be reached after several attempts, and
    tej.JobNotFound if the job does not exist.
    """

    def __repr__(self) -> str:
        return f"<TejJobRun {self.job_id} at {self.destination.place}>"

    def status(self) -> tej.JobStatus:
        """Read the job's status from the server."""
        return self.job.status()

    def wait_for_completion(self, timeout: float | None = None) -> None:  # type: ignore[override]
        """Wait until the job has finished, and copy the job's output to the run's log.

        The method reconnects if the connection is lost.  If the flow run is cancelled,
        the job is killed unless `on_cancel` is "leave" or another flow run has claimed
        the job.

        Raises tej.JobFailed, with the exit code and the last lines of stderr, if the
        job fails.  Raises tej.WaitTimeout if the job has not ended after `timeout`
        seconds.
        """
        self.wait(timeout)

    def wait(
        self,
        timeout: float | None = None,
        *,
        stop: threading.Event | None = None,
        log_output: bool = True,
    ) -> tej.JobStatus:
        """Wait like `wait_for_completion`, and return the job's final status."""
        status = wait_for_one(self, timeout=timeout, stop=stop, log_output=log_output)
        if not status.succeeded:
            raise self.job.queue.failure(status)
        return status

    def fetch_result(self) -> JobResult:  # type: ignore[override]
        """Download the results and the output of a finished job.

        Raises tej.JobFailed if the job did not succeed, and tej.JobStillRunning if the
        job has not ended.
        """
        status = self.status()
        if not status.state.final:
            raise tej.JobStillRunning(
                f"Job '{self.job_id}' at {self.destination.place} has not ended: call "
                "wait_for_completion() first"
            )
        if not status.succeeded:
            raise self.job.queue.failure(status)
        return self.result(status, self.download([*self.results, *OUTPUT_FILES]))

    def download(
        self, patterns: Sequence[str], directory: Path | None = None
    ) -> list[Path]:
        """Download files of a running or ended job.

        `directory` defaults to the subdirectory of `results_directory` with the job's
        id.  Raises tej.DownloadFailed if a file does not exist.
        """
        folder = directory or self.results_directory / self.job_id
        folder.mkdir(parents=True, exist_ok=True)
        return self.job.download(list(patterns), directory=folder)

    def logs(self, stream: str = "stdout", *, tail: int | None = None) -> str:
        """Return the job's output so far, or its last `tail` lines.

        `stream` is "stdout", "stderr" or the path of another file in the job's
        directory.
        """
        pieces = self.job.logs(stream, tail=tail)
        return b"".join(pieces).decode("utf-8", "replace")

    def kill(self) -> tej.JobStatus:
        """Kill the job if it has not ended, and return its status."""
        return self.job.kill()

    def delete(self) -> None:
        """Remove the ended job and its files.

        Raises tej.JobStillRunning if the job has not ended.
        """
        self.job.delete()

    async def await_for_completion(self, timeout: float | None = None) -> None:
        """Wait like `wait_for_completion`, without blocking the event loop."""
        stop = threading.Event()
        await in_thread(lambda: self.wait(timeout, stop=stop), stop)

    astatus = asynchronous(status)
    afetch_result = asynchronous(fetch_result)
    adownload = asynchronous(download)
    alogs = asynchronous(logs)
    akill = asynchronous(kill)
    adelete = asynchronous(delete)


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

    destination: TejDestination
    """The server that runs the job."""
    directory: Path | None = None
    """The directory to upload, which contains the script to run."""
    script: str | None = None
    """The text of the script to run; a directory is then optional. `sh` runs the
    script, unless the text begins with `#!`."""
    command: str | None = None
    """The command to run in the directory: either a file in the directory, followed by
    its arguments, or a shell command; `start.sh` by default."""
    files: list[str] = Field(default_factory=list)
    """Patterns of the files to upload; by default, all files in the directory. If no
    directory is given, the patterns are relative to the current directory."""
    results: list[str] = Field(default_factory=list)
    """Patterns of the files to download when the job has finished."""
    results_directory: Path = Path("results")
    """The local directory for the results; each job gets a subdirectory named by its
    id."""
    resources: tej.Resources | None = None
    """Nodes, CPUs, memory, time limit and so on, for a scheduler."""
    environment: dict[str, str] = Field(default_factory=dict)
    """Environment variables of the job, which are part of its signature and must not be
    secrets."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Labels of the job, for `tej list --label`."""
    name: str | None = None
    """A readable name of the job; by default the name of the directory."""
    parameters: dict[str, Any] | None = None
    """Values for the `{{ name }}` in templates. Templates are the files whose names end
    in `.j2`, the script, the command and the environment."""
    job_id: str | None = None
    """The id of the job; by default made from the signature."""
    login: bool = False
    """Whether to source the login profile before the job starts."""
    after: list[str] = Field(default_factory=list)
    """Ids of jobs of the same queue that must succeed before this job starts."""
    inputs: dict[str, str] = Field(default_factory=dict)
    """Files of other jobs that the server copies before this job starts. A key is a
    path in this job's directory, and its value is the source as `JOB:PATH`."""
    on_cancel: OnCancel = "kill"
    """Whether the job is killed or continues to run if the flow run is cancelled."""
    retry_failed: bool = False
    """Whether a failed or lost job is started again when it is requested. A killed job
    is always started again, except in a retry of a task or flow, where this setting
    applies to killed jobs as well."""

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
            raise ValueError("set `directory`, `script` or both")
        if self.script is not None and self.command is not None:
            raise ValueError("`script` and `command` cannot be combined")
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
        # A `Run` without arguments creates no artifacts.  The method that waits for the
        # job creates them.
        return self.start(Run())

    def start(self, run: Run | None = None) -> TejJobRun:
        """Start or find the job like `trigger`, and add it to the artifacts of a run.

        `run` defaults to the current run.
        """
        request = self.request()
        with CancellationGuard() as guard:
            submit(request, guard, JobArtifacts(run or guard.run))
        handle: TejJobRun = request.key
        return handle

    def with_options(
        self, on_cancel: OnCancel | None = None, retry_failed: bool | None = None
    ) -> Self:
        """Return a copy of the block with the arguments that are not None."""
        given = {"on_cancel": on_cancel, "retry_failed": retry_failed}
        update = {name: value for name, value in given.items() if value is not None}
        return self.model_copy(update=update) if update else self

    def request(self) -> tej.Run:
        """Return a `tej.Run` of the job; its `key` is a handle without a job id."""
        handle = TejJobRun(
            self.destination,
            self.job_id or "",
            name=self.title,
            results=self.results,
            results_directory=self.results_directory,
            on_cancel=self.on_cancel,
            found=False,
        )
        return tej.Run(
            self.destination.get_client(),
            self.spec,
            [*OUTPUT_FILES, *self.results],
            self.results_directory,
            retry=self.retry_failed,
            key=handle,
        )

    atrigger = asynchronous(trigger)


@contextlib.contextmanager
def job_directory(
    directory: Path | None,
    script: str | None,
    files: Sequence[str],
    parameters: Mapping[str, object] | None,
) -> Iterator[Path]:
    """Yield the directory to upload.

    If no file has to be selected, rendered or written, yield `directory` itself.  In
    all other cases, yield a temporary directory, which is removed when the context
    ends.

    `files` are patterns relative to `directory`, or to the current directory if
    `directory` is None; only matching files are copied.  If `parameters` is not None,
    templates and the script are rendered.  Raises tej.InvalidJobDirectory if a pattern
    matches no file or a template cannot be rendered.
    """
    source = (directory or Path()).expanduser()
    if script is None and not files and parameters is None:
        yield source
        return
    if directory is not None and not source.is_dir():
        raise tej.InvalidJobDirectory(f"The directory '{source}' does not exist")
    with tempfile.TemporaryDirectory(prefix="tej-") as made:
        folder = Path(made) / "job"
        if directory is not None and not files:
            shutil.copytree(source, folder, symlinks=True)
        else:
            folder.mkdir()
            for pattern in files:
                _copy(pattern, source, folder)
        if script is not None:
            if parameters is not None:
                script = render(script, parameters, "The script")
            _write_script(folder / SCRIPT, script)
        if parameters is not None:
            _render_directory(folder, parameters)
        yield folder


def render(text: str, parameters: Mapping[str, object], where: str) -> str:
    """Return the Jinja template `text` with its parameters filled in.

    Raises tej.InvalidJobDirectory, with `where` in the message, if a parameter is
    missing or the template is invalid.
    """
    try:
        return _jinja.from_string(text).render(parameters)
    except (TemplateError, ArithmeticError, TypeError, ValueError) as error:
        raise tej.InvalidJobDirectory(
            f"{where} cannot be rendered: {error} (parameters: "
            f"{', '.join(sorted(parameters)) or 'none'})"
        ) from error


def _render_directory(folder: Path, parameters: Mapping[str, object]) -> None:
    """Replace each file `NAME.j2` by the rendered file `NAME`.

    `NAME` has the same permissions as `NAME.j2`.
    """
    for template in sorted(folder.rglob(f"*{TEMPLATE_SUFFIX}")):
        if template.is_symlink() or not template.is_file():
            continue
        target = template.with_name(template.name.removesuffix(TEMPLATE_SUFFIX))
        where = f"'{template.relative_to(folder)}'"
        if target.exists():
            raise tej.InvalidJobDirectory(
                f"{where} cannot be rendered: '{target.name}' exists already"
            )
        # With surrogateescape, bytes that are not UTF-8 are copied unchanged.
        text = template.read_bytes().decode("utf-8", "surrogateescape")
        rendered = render(text, parameters, where)
        target.write_bytes(rendered.encode("utf-8", "surrogateescape"))
        shutil.copymode(template, target)
        template.unlink()


def _copy(pattern: str, source: Path, folder: Path) -> None:
    if Path(pattern).is_absolute() or ".." in Path(pattern).parts:
        raise tej.InvalidJobDirectory(
            f"The pattern '{pattern}' points outside '{source}': use a relative "
            "pattern without '..'"
        )
    found = sorted(source.glob(pattern))
    if not found:
        raise tej.InvalidJobDirectory(f"'{pattern}' matches no file in '{source}'")
    for path in found:
        target = folder / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir() and not path.is_symlink():
            shutil.copytree(path, target, symlinks=True, dirs_exist_ok=True)
        else:
            shutil.copy2(path, target, follow_symlinks=False)


def _write_script(path: Path, script: str) -> None:
    if path.exists():
        raise tej.InvalidJobDirectory(
            f"The directory contains {SCRIPT} already: omit `script`"
        )
    text = script if script.startswith("#!") else f"#!/bin/sh\n{script}"
    path.write_text(text if text.endswith("\n") else f"{text}\n", encoding="utf-8")
    path.chmod(0o755)
