"""Many tasks' jobs from beginning to end: a few round trips, whatever their number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tej.errors import ConnectionFailed, Error, JobFailed, JobNotFound, WaitTimeout
from tej.job import JobStatus
from tej.queue import Job, as_completed
from tej.queue.submission import Outcome
from tej_luigi.queues import OpenQueue, open_queue
from tej_luigi.task import TejTask

AT_ONCE = 100
"""Jobs that are prepared, sent or fetched together."""
TOLD = 5
"""Failed jobs whose stderr is fetched."""


@dataclass
class _Awaited:
    """A job, and the tasks that are the same work: most often one."""

    opened: OpenQueue
    tasks: list[TejTask]


@dataclass
class _Good:
    """A job that has finished well."""

    job: Job
    status: JobStatus
    awaited: _Awaited


class Sweep:
    """The jobs of some tasks, in one queue or several."""

    def __init__(self, tasks: Iterable[TejTask]) -> None:
        self._tasks = list(dict.fromkeys(tasks))
        self.total = len(self._tasks)
        self.pending: dict[Job, _Awaited] = {}
        self.done: list[TejTask] = []
        self.errors: dict[TejTask, Error] = {}

    @property
    def percent(self) -> int:
        """How many of them have come to an end."""
        return 100 * (len(self.done) + len(self.errors)) // max(1, self.total)

    def describe(self) -> str:
        """How many are in which state; asks for those that have not ended."""
        counts = Counter({"done": len(self.done), "failed": len(self.errors)})
        for opened, ids in self._by_queue().items():
            found = opened.queue.statuses(ids)
            counts.update(str(one.state) for one in found.values() if one is not None)
        words = [f"{number} {what}" for what, number in counts.items() if number]
        return f"{self.total} jobs: {', '.join(words) or 'none yet'}"

    def start(self) -> None:
        """Start those that do not exist, find the others."""
        self._start(self._tasks)

    def wait(self, seconds: float) -> None:
        """Until all have ended, or for so long; then fetch what is done.

        After ConnectionFailed it may be called again, and goes on where it was.
        """
        ended: list[tuple[Job, JobStatus]] = []
        try:
            for pair in as_completed(list(self.pending), seconds):
                ended.append(pair)
                if len(ended) >= AT_ONCE:
                    break
        except WaitTimeout:
            pass
        except JobNotFound:
            self._drop_deleted()
        again: dict[Job, _Awaited] = {}
        good: list[_Good] = []
        for job, status in ended:
            awaited = self.pending[job]
            if status.succeeded:
                good.append(_Good(job, status, awaited))
            elif awaited.tasks[0].may_try_again(status):
                again[job] = awaited
            else:
                self._failed(awaited, self._failure(job, status))
                del self.pending[job]
        self._fetch(good)
        self._restart(again)

    def kill(self) -> None:
        """End those that have not ended."""
        for opened, ids in self._by_queue().items():
            opened.queue.kill_many(ids)

    def _restart(self, again: Mapping[Job, _Awaited]) -> None:
        for job in again:
            del self.pending[job]
        try:
            self._start([task for one in again.values() for task in one.tasks])
        except ConnectionFailed:
            self.pending.update(again)
            raise

    def _by_queue(self) -> dict[OpenQueue, list[str]]:
        found: dict[OpenQueue, list[str]] = {}
        for job, awaited in list(self.pending.items()):
            found.setdefault(awaited.opened, []).append(job.id)
        return found

    def _start(self, tasks: Sequence[TejTask]) -> None:
        by_queue: dict[OpenQueue, list[TejTask]] = {}
        for task in tasks:
            by_queue.setdefault(open_queue(task.place), []).append(task)
        for opened, group in by_queue.items():
            for begin in range(0, len(group), AT_ONCE):
                outcomes = self._ensure(opened, group[begin : begin + AT_ONCE])
                self._sort(opened, outcomes)

    def _ensure(
        self, opened: OpenQueue, tasks: Sequence[TejTask]
    ) -> dict[TejTask, Outcome]:
        """What became of each; those that cannot be jobs are among the errors."""
        with ExitStack() as stack:
            specs = {}
            for task in tasks:
                try:
                    specs[task] = stack.enter_context(task.job_spec())
                except Error as error:
                    self.errors[task] = error
            ensured = opened.queue.ensure_many(specs.values())
            outcomes = dict(zip(specs, ensured, strict=True))
            again = [
                task
                for task, outcome in outcomes.items()
                if outcome.status is not None and task.may_try_again(outcome.status)
            ]
            retried = opened.queue.ensure_many(
                [specs[task] for task in again], retry=True
            )
            outcomes.update(zip(again, retried, strict=True))
        return outcomes

    def _sort(self, opened: OpenQueue, outcomes: Mapping[TejTask, Outcome]) -> None:
        good: list[_Good] = []
        for task, outcome in outcomes.items():
            if outcome.error is not None:
                self.errors[task] = outcome.error
            elif outcome.status is not None:
                job = opened.queue.job(outcome.job_id)
                if job in self.pending:
                    self.pending[job].tasks.append(task)
                elif outcome.status.succeeded:
                    awaited = _Awaited(opened, [task])
                    good.append(_Good(job, outcome.status, awaited))
                else:
                    # One that has failed is told of where all are: by waiting for it.
                    self.pending[job] = _Awaited(opened, [task])
        self._fetch(good)

    def _fetch(self, good: Sequence[_Good]) -> None:
        by_folder: dict[tuple[OpenQueue, Path], dict[str, list[str]]] = {}
        for one in good:
            for task in one.awaited.tasks:
                results = task.local_results(one.job.id)
                if not results.fetched(one.status):
                    key = (one.awaited.opened, results.parent)
                    wanted = by_folder.setdefault(key, {})
                    names = wanted.get(one.job.id, [])
                    wanted[one.job.id] = [*dict.fromkeys(names + results.patterns)]
        failed: dict[str, Error] = {}
        for (opened, parent), wanted in by_folder.items():
            fetched = opened.queue.download_many(wanted, directory=parent)
            failed.update(
                (job_id, outcome.error)
                for job_id, outcome in fetched.items()
                if outcome.error is not None
            )
        for one in good:
            self.pending.pop(one.job, None)
            if one.job.id in failed:
                self._failed(one.awaited, failed[one.job.id])
                continue
            for task in one.awaited.tasks:
                task.local_results(one.job.id).note(one.status)
                self.done.append(task)
            one.awaited.opened.statuses.put(one.status)

    def _failure(self, job: Job, status: JobStatus) -> Error:
        if len(self.errors) < TOLD:
            return job.queue.failure(status)
        return JobFailed(f"Job '{job.id}': {status.describe()}")

    def _failed(self, awaited: _Awaited, error: Error) -> None:
        self.errors.update(dict.fromkeys(awaited.tasks, error))

    def _drop_deleted(self) -> None:
        """Somebody has deleted some of them meanwhile."""
        for job, awaited in list(self.pending.items()):
            if job.queue.statuses([job.id])[job.id] is None:
                del self.pending[job]
                self._failed(
                    awaited, JobNotFound(f"Job '{job.id}' was deleted while it ran")
                )
