"""Run the jobs of a `TejTask` or `TejBatch`: start, wait, and fetch the results.

`tej/queue/job_failure.py` makes the error of a failed job, with the last lines of its
stderr.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import luigi

import tej
from tej import (
    Batch,
    Error,
    JobNotFound,
    JobState,
    JobStatus,
    JobStillRunning,
    Run,
    RunResult,
)
from tej_luigi.config import TejConfig
from tej_luigi.display import Display
from tej_luigi.job_attributes import JobAttributes
from tej_luigi.status_cache import open_queue


def may_restart(task: JobAttributes, status: JobStatus) -> bool:
    """Return whether to restart the job of a task, given the status of the job.

    A failed or lost job is restarted if the setting `retry` allows another attempt.  A
    killed job is not restarted.
    """
    retry = TejConfig().retry if task.retry is None else task.retry
    failed = status.state.final and not status.succeeded
    if not failed or status.state is JobState.KILLED:
        return False
    return status.attempt <= retry


class TaskResults:
    """Fetches the results of tasks into the local caches of their jobs."""

    def __init__(self) -> None:
        self.errors: dict[JobAttributes, Exception] = {}
        """The error of each task that did not succeed."""
        self._fetching: set[JobAttributes] = set()

    def make_runs(self, tasks: Iterable[JobAttributes]) -> Iterator[Run]:
        """Yield a `Run` for each task; store the error of an invalid queue."""
        for task in tasks:
            try:
                queue = open_queue(task.address).queue
            except Exception as error:
                self.errors[task] = error
                continue
            yield Run(
                queue,
                task.job_spec,
                results=functools.partial(self._missing, task),
                directory=task.result_files("").folder,
                retry=functools.partial(may_restart, task),
                key=task,
            )

    def _missing(self, task: JobAttributes, status: JobStatus) -> list[str]:
        """Return the results to fetch; none if all are on this machine already."""
        files = task.result_files(status.job_id)
        if files.is_current(status):
            # This method is called again after a lost connection.  If another process
            # has fetched the results since the first call, nothing is left to record.
            self._fetching.discard(task)
            return []
        self._fetching.add(task)
        return files.patterns

    def on_fetch(self, results: Sequence[RunResult]) -> None:
        """Record fetched files, and call `after_fetch` of their tasks."""
        for result in results:
            task: JobAttributes = result.run.key
            if result.error is not None:
                self.errors[task] = result.error
            elif task in self._fetching and result.status is not None:
                files = task.result_files(result.status.job_id)
                try:
                    files.record(result.status, result.files, task.run_after_fetch)
                except Exception as error:
                    self.errors[task] = error
            self._fetching.discard(task)


def fetch_results(tasks: Iterable[JobAttributes]) -> dict[JobAttributes, Exception]:
    """Fetch the missing results of tasks whose jobs have succeeded.

    Returns the error of each task whose results could not be fetched.  One request
    fetches the results of a hundred tasks.  If the connection is lost, the function
    waits until the server replies again.
    """
    fetched = TaskResults()
    results = []
    for run in fetched.make_runs(tasks):
        try:
            status = _succeeded_status(run.key)
        except Exception as error:
            fetched.errors[run.key] = error
        else:
            results.append(RunResult(run, run.queue.job(status.job_id), status=status))
    tej.fetch_results(results, fetched.on_fetch)
    return fetched.errors


def _succeeded_status(task: JobAttributes) -> JobStatus:
    address = task.address
    status = open_queue(address).status(task.job_id)
    if status is None:
        raise JobNotFound(
            f"There are no results: no job of {task} in {address.queue} on "
            f"{address.shown}"
        )
    if not status.state.final:
        raise JobStillRunning(f"There are no results yet: {status.describe()}")
    if not status.succeeded:
        raise open_queue(address).queue.failure(status)
    return status


class JobRun:
    """Starts the jobs of tasks, waits for the jobs and fetches their results."""

    def __init__(
        self,
        owner: luigi.Task,
        tasks: Sequence[JobAttributes],
        poll: float | None,
        show: Callable[[Display, Batch], object],
    ) -> None:
        """Prepare the run of `tasks` by the Luigi task `owner`.

        `show` is called every `poll` seconds to update the status message of `owner`.
        If `poll` is None, the setting of the configuration is used.
        """
        self._display = Display(owner)
        self._show = show
        self._poll = TejConfig().poll if poll is None else poll
        self._next_update = 0.0
        self.tasks = list(dict.fromkeys(tasks))
        fetched = TaskResults()
        self.errors = fetched.errors
        """The error of each task that did not succeed."""
        self._batch = Batch(
            fetched.make_runs(self.tasks),
            on_tick=self._tick,
            on_end=_cache_statuses,
            on_fetch=fetched.on_fetch,
            patient=True,
        )

    def run(self) -> None:
        """Start missing jobs, wait for all jobs, and fetch the results.

        The errors are stored in `errors`.
        """
        for result in self._batch.run():
            # Luigi marks a task as done unless run() raises an error, so every job that
            # has not succeeded must have an error.
            if not result.succeeded and result.run.key not in self.errors:
                self.errors[result.run.key] = result.error or Error(
                    f"The outcome of the job is unknown: {result.job or result.run.key}"
                )

    def kill(self) -> None:
        """Kill the jobs that have not ended, and start no further jobs."""
        self._batch.kill()

    def _tick(self) -> None:
        self._display.receive_messages(self.kill)
        if time.monotonic() < self._next_update:
            return
        try:
            self._show(self._display, self._batch)
        except Error as error:
            # The task must not fail because its status message cannot be updated.
            self._display.message(f"Still waiting, but the state is unknown: {error}")
        self._next_update = time.monotonic() + self._poll


def _cache_statuses(results: Sequence[RunResult]) -> None:
    for result in results:
        if result.status is not None:
            open_queue(result.run.key.address).put(result.status)
