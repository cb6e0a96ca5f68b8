"""`TejTask`: a Luigi task that runs as a job on a server.

The attributes that describe the job are properties of the class, like Luigi's own
`priority`.  The attributes are not parameters, so they are not part of the task's id.
A subclass sets an attribute as a class attribute, or overrides the property if its
value depends on parameters.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import luigi
from luigi.parameter import ParameterVisibility

from tej import (
    Error,
    Job,
    JobAlreadyExists,
    JobNotFound,
    JobSpec,
    JobState,
    JobStatus,
    JobStillRunning,
    RemoteQueue,
    Resources,
    check_job_id,
    make_id,
    signature,
)
from tej_luigi.config import QueueAddress, TejConfig, check_tracking_url, find_address
from tej_luigi.display import Display
from tej_luigi.queues import add_to_requests, asking, open_queue
from tej_luigi.rendering import Recipe, render, render_shell
from tej_luigi.results import ResultFiles, existing_patterns
from tej_luigi.run import JobRun
from tej_luigi.targets import TaskJobTarget, result_targets


class JobAttributes(luigi.Task):
    """The attributes of a `TejTask` that describe its job."""

    @property
    def directory(self) -> str | os.PathLike[str] | None:
        """Local directory to upload; a required task may create the directory."""
        return None

    @property
    def rendered(self) -> Sequence[str]:
        """Patterns of template files in the directory, such as `*.in`."""
        return ()

    @property
    def inline(self) -> str | None:
        """Template of the script `start.sh`.

        Without `directory`, this script is the only file of the job.
        """
        return None

    @property
    def command(self) -> str | None:
        """Template of the command that the job runs.

        The command is a file of the directory with arguments, or a shell command.  If
        the value is None, the job runs `start.sh`.
        """
        return None

    @property
    def environment(self) -> Mapping[str, str]:
        """Environment variables of the job; the values are rendered."""
        return {}

    @property
    def results(self) -> Sequence[str]:
        """Paths or patterns of the files to fetch from the job's directory.

        `Optional(name)` marks a file as optional: if the job does not produce this
        file, no error is raised.
        """
        return ()

    @property
    def job_resources(self) -> Resources | None:
        """Resources to request for the job, in contrast to Luigi's own `resources`."""
        return None

    @property
    def labels(self) -> Mapping[str, str]:
        """Labels of the job, like the option `--label` of `tej submit`."""
        return {}

    @property
    def login(self) -> bool:
        """Whether the login profile is sourced before the job starts."""
        return False

    @property
    def job_id_is_task_id(self) -> bool:
        """Whether the job's id is the task's id instead of the signature."""
        return False

    # The following properties override settings of `TejConfig` for one task.

    @property
    def destination(self) -> str | None:
        """Destination of the job; overrides the setting `destination` of `TejConfig`.

        If the value is None, the configured value is used.  The same rule applies to
        `queue`, `runtime` and the other settings below.
        """
        return None

    @property
    def queue(self) -> str | None:
        return None

    @property
    def runtime(self) -> str | None:
        return None

    @property
    def poll(self) -> float | None:
        return None

    @property
    def retry(self) -> int | None:
        return None

    @property
    def results_directory(self) -> str | os.PathLike[str] | None:
        return None

    @property
    def tracking_url(self) -> str | None:
        return None

    def variables(self) -> Mapping[str, object]:
        """Return the values that replace `{{name}}` in templates, by name.

        The default values are the significant, public parameters of the task, in the
        form of the command line.  Subclasses may add other values.
        """
        parameters = dict(self.get_params())
        return {
            name: parameters[name].serialize(value)
            for name, value in self.param_kwargs.items()
            if parameters[name].significant
            and parameters[name].visibility == ParameterVisibility.PUBLIC
        }


class TejTask(JobAttributes):
    """Task that starts or finds its job, waits for its end, and fetches its results.

    The task is complete if the job has finished with exit code 0.
    """

    accepts_messages = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        add_to_requests(self)

    def after_fetch(self) -> None:
        """Process results that have been fetched to this machine (for subclasses).

        If the method raises an exception, the results are fetched again, and the method
        is called again, when the task next runs or a result is opened.
        """

    # Completeness.

    @property
    def address(self) -> QueueAddress:
        """The address of the job's queue.

        Raises InvalidDestination if no destination is configured.
        """
        return find_address(self.destination, self.queue, self.runtime)

    @property
    def job_id(self) -> str:
        """The id of the job.

        Raises InvalidJobDirectory if the job's directory does not exist.
        """
        if self.job_id_is_task_id:
            return check_job_id(self.task_id)
        return self._signed.job_id

    @property
    def job(self) -> TaskJob:
        """The job as a `tej.Job`, with methods such as `status()` and `kill()`."""
        return TaskJob(self)

    def status(self) -> JobStatus | None:
        """Return the status of the job on the server; None if no such job exists."""
        return open_queue(self.address).status(self.job_id)

    def output(self) -> dict[str, Any]:
        """Return a dictionary with the targets of the job and of its results.

        The value of "job" is a `TejJobTarget`.  The value of "results" is a dictionary
        with a `TejResultTarget` for each name, and a list of such targets for each
        pattern.  The method makes no request to the server.
        """
        return {
            "job": TaskJobTarget(self),
            "results": result_targets(self, self.results),
        }

    def complete(self) -> bool:
        """Return whether the job has finished with exit code 0.

        Raises tej.Error if the server does not reply, because the state of the job is
        then unknown.
        """
        self.check_settings()
        with asking(self):
            return self.job_succeeded()

    def job_succeeded(self) -> bool:
        """Return whether the job has finished with exit code 0.

        Targets call this method and not `complete`, because subclasses may override
        `complete`.
        """
        try:
            job_id = self.job_id
        except Exception:
            if any(not task.complete() for task in self.deps()):
                # The job's id cannot be computed yet, because the job needs the output
                # of a required task that is not complete.
                return False
            raise
        status = open_queue(self.address).status(job_id)
        if status is None or not status.succeeded:
            return False
        self._check_same_work(status)
        return True

    def _check_same_work(self, status: JobStatus) -> None:
        """Raise JobAlreadyExists if the job was started with another signature.

        The check is skipped if the task's files have been removed, because the
        signature of the task then cannot be computed.
        """
        if not self.job_id_is_task_id or status.signature is None:
            return
        try:
            job_id = self._signed.job_id
        except Exception:
            return
        if job_id != make_id(status.signature):
            raise JobAlreadyExists(
                f"Job '{status.job_id}' exists, but was made from other files or "
                "another command; delete it to run the task as it is now"
            )

    @classmethod
    def bulk_complete(cls, parameter_tuples: Any) -> list[Any]:
        """Return those parameters for which the task is complete.

        Each element of `parameter_tuples` is a value, a tuple or a dictionary.  One
        request to the server reads the statuses of all jobs.
        """
        tasks: list[tuple[Any, TejTask]] = []
        for given in parameter_tuples:
            if isinstance(given, list | tuple):
                tasks.append((given, cls(*given)))
            elif isinstance(given, dict):
                tasks.append((given, cls(**given)))
            else:
                tasks.append((given, cls(given)))
        # All tasks are created before the first request to the server, so that this
        # request includes the jobs of all tasks.
        with asking():
            return [given for given, task in tasks if task.complete()]

    # Running.

    def run(self) -> Generator[Any, Any, None]:
        """Start the job if necessary, wait until it has ended, and fetch its results.

        The method returns an empty generator after the results have been fetched.
        Therefore a subclass may call `super().run()` or `yield from super().run()`.
        Raises JobFailed, with the exit code and the end of stderr, if the job does not
        succeed.
        """
        self.check_settings()
        run = JobRun(self, [self])
        run.run(TejConfig().poll if self.poll is None else self.poll, self._show)
        for error in run.errors.values():
            raise error
        return (_ for _ in ())

    def check_settings(self) -> None:
        """Raise Error if the setting `tracking_url` is invalid."""
        check_tracking_url(self._tracking_url)

    def _show(self, display: Display, run: JobRun) -> None:
        (result,) = run.batch.results
        if result.job is not None:
            status = result.job.queue.statuses([result.job.id])[result.job.id]
            if status is not None and not status.state.final:
                display.job(status, result.job.queue, self._tracking_url)

    def fetch_results(self) -> Path:
        """Fetch missing results, and return the local directory of the results.

        Raises tej.Error if the job has not finished with exit code 0.
        """
        files = self.result_files(self.job_id)
        if getattr(self, "_in_after_fetch", False):
            return files.folder
        opened = open_queue(self.address)
        status = opened.patiently(self._succeeded_status)
        if not files.is_current(status):
            fetched = opened.patiently(
                lambda: opened.queue.download(
                    status.job_id,
                    existing_patterns(opened.queue, status, files.patterns),
                    directory=files.folder,
                )
            )
            files.record(status, fetched, self.run_after_fetch)
        return files.folder

    def _succeeded_status(self) -> JobStatus:
        status = self.status()
        if status is None:
            raise JobNotFound(f"There are no results: no {TaskJobTarget(self)}")
        if not status.state.final:
            raise JobStillRunning(f"There are no results yet: {status.describe()}")
        if not status.succeeded:
            raise self.job.queue.failure(status)
        return status

    def run_after_fetch(self) -> None:
        """Call `after_fetch`.

        If `after_fetch` opens result targets, these targets do not fetch again.
        """
        self._in_after_fetch = True
        try:
            self.after_fetch()
        finally:
            self._in_after_fetch = False

    def result_files(self, job_id: str) -> ResultFiles:
        """Return an object that manages the local copy of the job's results."""
        parent = self.results_directory or TejConfig().results_directory
        return ResultFiles(Path(parent) / job_id, self.results)

    def may_restart(self, status: JobStatus) -> bool:
        """Return whether to restart a job whose status is `status`.

        A failed or lost job is restarted if the setting `retry` allows another attempt.
        A killed job is not restarted.
        """
        retry = TejConfig().retry if self.retry is None else self.retry
        failed = status.state.final and not status.succeeded
        if not failed or status.state is JobState.KILLED:
            return False
        return status.attempt <= retry

    @property
    def _tracking_url(self) -> str | None:
        return self.tracking_url or TejConfig().tracking_url

    # The job and its id.

    @contextmanager
    def job_spec(self) -> Iterator[JobSpec]:
        """Yield the specification of the job.

        The directory of the job may be removed when the context ends.
        """
        values = self._values()
        with self._recipe().folder() as folder:
            yield JobSpec(
                folder,
                self._rendered_command(values),
                check_job_id(self.task_id) if self.job_id_is_task_id else None,
                self.task_family,
                dict(self.labels),
                self._rendered_environment(values),
                self.job_resources,
                self.login,
            )

    def _recipe(self) -> Recipe:
        return Recipe(
            None if self.directory is None else Path(self.directory),
            tuple(self.rendered),
            self.inline,
            self._values(),
        )

    def _values(self) -> dict[str, str]:
        return {name: str(value) for name, value in self.variables().items()}

    def _rendered_command(self, values: Mapping[str, str]) -> str | None:
        if self.command is None:
            return None
        return render_shell(self.command, values, "`command`")

    def _rendered_environment(self, values: Mapping[str, str]) -> dict[str, str]:
        return {
            name: render(value, values, f"`environment` of {name}")
            for name, value in self.environment.items()
        }

    @cached_property
    def _signed(self) -> _Signed:
        return _Signed(self)


class TaskJob(Job[RemoteQueue]):
    """A `tej.Job` whose methods also update the status cache of the task's queue."""

    def __init__(self, task: TejTask) -> None:
        self._task = task
        self._opened = open_queue(task.address)
        super().__init__(self._opened.queue, task.job_id)

    def delete(self) -> None:
        """Delete the job and its files on the server.

        Afterwards the task is not complete.
        """
        super().delete()
        self._opened.forget(self.id)

    def retry(self) -> JobStatus:
        """Restart the job if it failed, was killed or is lost.

        If the job does not exist, the job is started.  A failed attempt stays on the
        server with the id ID#N.  The method returns the new status without waiting for
        the end of the job.
        """
        with self._task.job_spec() as spec:
            (outcome,) = self.queue.ensure_many([spec], retry=True)
        if outcome.error is not None:
            raise outcome.error
        if outcome.status is None:
            raise Error(f"The server did not report the state of job '{self.id}'")
        self._opened.put(outcome.status)
        return outcome.status


class _Signed:
    """Computes a task's job id from its signature, and caches the id.

    The signature is computed again only if the files, the command or the environment
    of the task have changed.
    """

    def __init__(self, task: TejTask) -> None:
        self._task = task
        self._seen: object = None
        self._job_id = ""

    @property
    def job_id(self) -> str:
        recipe = self._task._recipe()
        values = recipe.variables
        command = self._task._rendered_command(values)
        environment = self._task._rendered_environment(values)
        print_ = recipe.fingerprint()
        seen = print_ and (print_, command, tuple(sorted(environment.items())))
        if seen is None or seen != self._seen:
            with recipe.folder() as folder:
                self._job_id = make_id(signature(folder, command, environment))
            self._seen = seen
        return self._job_id
