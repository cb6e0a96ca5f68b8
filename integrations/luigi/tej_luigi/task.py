"""`TejTask`: a Luigi task that runs as a job on a server."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

from tej import (
    Batch,
    Error,
    Job,
    JobAlreadyExists,
    JobStatus,
    RemoteQueue,
    make_id,
)
from tej_luigi.config import TejConfig, check_tracking_url
from tej_luigi.display import Display
from tej_luigi.job_attributes import JobAttributes
from tej_luigi.run import JobRun, fetch_results
from tej_luigi.status_cache import add_to_requests, cached_statuses, open_queue
from tej_luigi.targets import TaskJobTarget, result_targets


class TejTask(JobAttributes):
    """Task that starts or finds a job, waits for it, and fetches its results.

    The task is complete if the job has finished with exit code 0.
    """

    accepts_messages = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        add_to_requests(self)

    # Methods that check whether the task is complete.

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
        with cached_statuses(self):
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
            job_id = self.signature_id()
        except Exception:
            return
        if job_id != make_id(status.signature):
            raise JobAlreadyExists(
                f"Job '{status.job_id}' exists, but was made from different files or "
                "another command; delete the job to run the task in its current form"
            )

    @classmethod
    def bulk_complete(cls, parameter_tuples: Any) -> list[Any]:
        """Return the elements of `parameter_tuples` for which the task is complete.

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
        with cached_statuses():
            return [given for given, task in tasks if task.complete()]

    # Methods that run the task.

    def run(self) -> Generator[Any, Any, None]:
        """Start the job if necessary, wait until it has ended, and fetch its results.

        The method returns an empty generator after the results have been fetched.
        Therefore a subclass may call `super().run()` or `yield from super().run()`.
        Raises JobFailed, with the exit code and the end of stderr, if the job does not
        succeed.
        """
        self.check_settings()
        run = JobRun(self, [self], self.poll, self._show)
        run.run()
        for error in run.errors.values():
            raise error
        return (_ for _ in ())

    def check_settings(self) -> None:
        """Raise Error if the setting `tracking_url` is invalid."""
        check_tracking_url(self._tracking_url)

    def _show(self, display: Display, batch: Batch) -> None:
        (result,) = batch.results
        if result.job is None:
            display.message("Not started: the server cannot be reached")
        else:
            status = result.job.queue.statuses([result.job.id])[result.job.id]
            if status is not None and not status.state.final:
                display.job(status, result.job.queue, self._tracking_url)

    def fetch_results(self) -> Path:
        """Fetch missing results, and return the local directory of the results.

        Raises tej.Error if the job has not finished with exit code 0.
        """
        folder = self.result_files(self.job_id).folder
        if not getattr(self, "_in_after_fetch", False):
            for error in fetch_results([self]).values():
                raise error
        return folder

    @property
    def _tracking_url(self) -> str | None:
        return self.tracking_url or TejConfig().tracking_url


class TaskJob(Job[RemoteQueue]):
    """A `tej.Job` whose methods also update the status cache of the task's queue."""

    def __init__(self, task: TejTask) -> None:
        self._opened = open_queue(task.address)
        super().__init__(self._opened.queue, task.job_id)
        self._task = task

    def delete(self) -> None:
        """Delete the job and its files on the server.

        After the deletion, the task is no longer complete.
        """
        try:
            super().delete()
        finally:
            # Forget the status also if the request failed, because the server may have
            # deleted the job nevertheless.
            self._opened.forget(self.id)

    def retry(self) -> JobStatus:
        """Restart the job if it failed, was killed or is lost.

        If the job does not exist, the job is started.  An earlier attempt with the
        number N stays on the server under the id ID#N.  The method returns the new
        status at once, and does not wait until the job ends.
        """
        with self._task.job_spec() as spec:
            (outcome,) = self.queue.ensure_many([spec], retry=True)
        if outcome.error is not None:
            raise outcome.error
        if outcome.status is None:
            raise Error(f"The server did not report the state of job '{self.id}'")
        self._opened.put(outcome.status)
        return outcome.status
