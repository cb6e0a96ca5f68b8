"""Start and await the jobs of a `TejTask` or `TejBatch`, and fetch their results."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Protocol

import luigi

from tej import Batch, ConnectionFailed, Error, JobFailed, JobSpec, JobStatus, RunResult
from tej import Run as Work
from tej_luigi.config import QueueAddress
from tej_luigi.connections import OpenQueue, is_temporary, open_queue, with_patience
from tej_luigi.display import Display, listening
from tej_luigi.results import ResultFiles, present_patterns

LONGEST_REPORT = 10
"""Maximum number of failure reasons that are reported with a job's stderr."""


class RunsJob(Protocol):
    """A task with a job."""

    @property
    def address(self) -> QueueAddress: ...

    def job_spec(self) -> AbstractContextManager[JobSpec]: ...

    def result_files(self, job_id: str) -> ResultFiles: ...

    def may_restart(self, status: JobStatus) -> bool: ...

    def run_after_fetch(self) -> None: ...


class JobRun:
    """Starts the jobs of some tasks, waits for the jobs and fetches their results."""

    def __init__(self, owner: luigi.Task, tasks: Sequence[RunsJob]) -> None:
        self._owner = owner
        self._display = Display(owner)
        self._opened: dict[RunsJob, OpenQueue] = {}
        self._fetching: dict[RunsJob, JobStatus] = {}
        self._due = 0.0
        self.errors: dict[RunsJob, Exception] = {}
        self.tasks = list(dict.fromkeys(tasks))
        self.batch = self._batch(self.tasks)

    def _batch(self, tasks: Iterable[RunsJob]) -> Batch:
        return Batch(
            [run for task in tasks for run in self._works(task)],
            on_tick=self._tick,
            on_end=self._on_end,
            on_fetch=self._on_fetch,
        )

    def run(self, poll: float, show: Callable[[Display, JobRun], object]) -> None:
        """Start missing jobs, wait for all jobs, and fetch the results.

        The errors are stored in `errors`.  `show` is called every `poll` seconds to
        update the status message of the owner.
        """
        self._poll, self._show = poll, show
        with listening(self._owner, lambda: self.batch.kill()):
            self.batch.run()
            # A lost connection is restored by the batch while the batch waits and
            # fetches.  Jobs that were not started because a server was unreachable
            # must be run again.
            while again := self._reachable_again():
                self.batch = self._batch(again)
                self.batch.run()

    def _reachable_again(self) -> list[RunsJob]:
        """Wait until unreachable servers reply, and return the tasks to run again."""
        lost = {task for task, error in self.errors.items() if is_temporary(error)}
        again = []
        for opened in dict.fromkeys(self._opened[task] for task in lost):
            tasks = [task for task in lost if self._opened[task] is opened]
            with suppress(ConnectionFailed):
                with_patience(opened, opened.statuses.check, self._display.message)
                again += tasks
        for task in again:
            del self.errors[task]
        return again

    def status_of(self, result: RunResult) -> JobStatus | None:
        """Return the current status of a job; None if the job does not exist."""
        if result.job is None:
            return None
        return result.job.queue.statuses([result.job.id])[result.job.id]

    def _works(self, task: RunsJob) -> list[Work]:
        """Return a list with the job of a task.

        If the queue of the task is invalid, the list is empty and the error is stored
        in `errors`.
        """
        try:
            self._opened[task] = opened = open_queue(task.address)
        except Exception as error:
            self.errors[task] = error
            return []
        return [
            Work(
                opened.queue,
                task.job_spec,
                results=lambda status: self._missing(task, status),
                directory=task.result_files("").folder,
                retry=task.may_restart,
                key=task,
            )
        ]

    def _missing(self, task: RunsJob, status: JobStatus) -> list[str]:
        """Return the patterns of the results to fetch; empty if all exist locally."""
        files = task.result_files(status.job_id)
        if files.is_current(status):
            return []
        self._fetching[task] = status
        return wanted_patterns(self._opened[task], status, files.patterns)

    def _tick(self) -> None:
        if time.monotonic() < self._due:
            return
        try:
            self._show(self._display, self)
        except ConnectionFailed as error:
            self._display.message(f"No connection, still waiting: {error}")
        self._due = time.monotonic() + self._poll

    def _on_end(self, results: Sequence[RunResult]) -> None:
        for result in results:
            task: RunsJob = result.run.key
            if result.status is not None:
                self._opened[task].statuses.put(result.status)

    def _on_fetch(self, results: Sequence[RunResult]) -> None:
        for result in results:
            task: RunsJob = result.run.key
            status = self._fetching.pop(task, None)
            if result.error is not None:
                self.errors[task] = result.error
            elif status is not None:
                files = task.result_files(status.job_id)
                try:
                    files.record(status, result.files, task.run_after_fetch)
                except Exception as error:
                    self.errors[task] = error


def wanted_patterns(
    opened: OpenQueue, status: JobStatus, patterns: Sequence[str]
) -> list[str]:
    """Return the patterns to download.

    An optional pattern is included only if it matches a file of the job.
    """
    wanted = {status.job_id: (status, patterns)}
    found = with_patience(opened, lambda: present_patterns(opened.queue.shell, wanted))
    return found[status.job_id]


def describe_failures(run: JobRun) -> str:
    """Return a report of all failed tasks, grouped by the reason of the failure.

    Each group has the exit code, and the stderr of one job.
    """
    groups: dict[str, list[tuple[RunsJob, Exception]]] = {}
    for task, error in run.errors.items():
        groups.setdefault(_reason(error), []).append((task, error))
    total, failed = len(run.tasks), len(run.errors)
    lines = [
        f"{failed} of {total} tasks failed; the next run keeps the {total - failed} "
        "that succeeded"
    ]
    for number, (reason, members) in enumerate(
        sorted(groups.items(), key=lambda item: -len(item[1]))
    ):
        lines += ["", f"{reason}: {len(members)} tasks" if len(members) > 1 else reason]
        for task, error in members:
            job_id = getattr(error, "job_id", None)
            lines.append(f"  {task}" + (f"  job {job_id}" if job_id else ""))
        if number < LONGEST_REPORT:
            lines += [f"    {line}" for line in _details(members)]
    return "\n".join(lines)


def _reason(error: Exception) -> str:
    if isinstance(error, JobFailed) and error.state is not None:
        if error.signal is not None:
            return f"{error.state}, signal {error.signal}"
        if error.exit_code is not None:
            return f"exit code {error.exit_code}"
        return error.state
    return type(error).__name__


def _details(members: Sequence[tuple[RunsJob, Exception]]) -> list[str]:
    """Return the different messages of a group of errors.

    For failed jobs, return the longest message, which includes the stderr of a job.
    """
    if isinstance(members[0][1], JobFailed):
        # Only some error messages include stderr, because tej needs a request to read
        # the stderr of each job.
        best = max((error for _, error in members), key=lambda one: len(str(one)))
        return str(best).splitlines()
    words = dict.fromkeys(_words(error) for _, error in members)
    return [line for one in [*words][:LONGEST_REPORT] for line in one.splitlines()]


def _words(error: Exception) -> str:
    # The class is added because the message of an error that does not come from tej,
    # such as KeyError, may be unclear without the class.
    return (
        str(error) if isinstance(error, Error) else f"{type(error).__name__}: {error}"
    )
