"""Many tasks' jobs from beginning to end: a few round trips, whatever their number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tej.errors import ConnectionFailed, Error, JobFailed, JobNotFound, WaitTimeout
from tej.job.status import JobStatus
from tej.queue import Job, JobSpec, as_completed
from tej.queue.download import Downloaded
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
        self.errors: dict[TejTask, Exception] = {}

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
        ended: dict[Job, JobStatus] = {}
        try:
            for job, status in as_completed(list(self.pending), seconds):
                ended[job] = status
                if len(ended) >= AT_ONCE:
                    break
        except WaitTimeout:
            pass
        except JobNotFound:
            self._drop_deleted(ended)
        again: dict[Job, _Awaited] = {}
        good: list[_Good] = []
        for job, status in ended.items():
            awaited = self.pending[job]
            awaited.opened.statuses.put(status)
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
            with self._telling(task):
                by_queue.setdefault(open_queue(task.place), []).append(task)
        for opened, group in by_queue.items():
            for begin in range(0, len(group), AT_ONCE):
                outcomes = self._ensure(opened, group[begin : begin + AT_ONCE])
                self._sort(opened, outcomes)

    @contextmanager
    def _telling(self, task: TejTask) -> Iterator[None]:
        """What is wrong with a task is among the errors, and keeps no other back."""
        try:
            yield
        except Exception as error:
            self.errors[task] = error

    def _ensure(
        self, opened: OpenQueue, tasks: Sequence[TejTask]
    ) -> dict[TejTask, Outcome]:
        """What became of each; those that cannot be jobs are among the errors."""
        with ExitStack() as stack:
            specs: dict[TejTask, JobSpec] = {}
            for task in tasks:
                with self._telling(task):
                    specs[task] = stack.enter_context(task.job_spec())
            outcomes = _ensure_all(opened, specs)
            again = {
                task: specs[task]
                for task, outcome in outcomes.items()
                if outcome.status is not None and task.may_try_again(outcome.status)
            }
            return outcomes | _ensure_all(opened, again, retry=True)

    def _sort(self, opened: OpenQueue, outcomes: Mapping[TejTask, Outcome]) -> None:
        good: list[_Good] = []
        for task, outcome in outcomes.items():
            if outcome.error is not None:
                self.errors[task] = outcome.error
            elif outcome.status is not None:
                opened.statuses.put(outcome.status)
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
        fetched = self._download(good)
        for one in good:
            self.pending.pop(one.job, None)
            for task in one.awaited.tasks:
                outcome = fetched.get(task)
                if outcome is not None and outcome.error is not None:
                    self.errors[task] = outcome.error
                    continue
                if outcome is not None:
                    task.local_results(one.job.id).note(one.status, outcome.files)
                self.done.append(task)

    @staticmethod
    def _download(good: Sequence[_Good]) -> dict[TejTask, Downloaded]:
        """What came of each task's job, for tasks whose results are not here yet."""
        lacking: dict[TejTask, tuple[OpenQueue, Path, str]] = {}
        wanted: dict[tuple[OpenQueue, Path], dict[str, list[str]]] = {}
        for one in good:
            opened, job_id = one.awaited.opened, one.job.id
            for task in one.awaited.tasks:
                results = task.local_results(job_id)
                if not results.fetched(one.status):
                    lacking[task] = (opened, results.parent, job_id)
                    names = wanted.setdefault((opened, results.parent), {})
                    names.setdefault(job_id, []).extend(results.patterns)
        fetched = {
            (opened, parent, job_id): outcome
            for (opened, parent), names in wanted.items()
            for job_id, outcome in opened.queue.download_many(
                {job_id: [*dict.fromkeys(names[job_id])] for job_id in names},
                directory=parent,
            ).items()
        }
        return {task: fetched[key] for task, key in lacking.items()}

    def _failure(self, job: Job, status: JobStatus) -> Error:
        if len(self.errors) < TOLD:
            return job.queue.failure(status)
        return JobFailed(f"Job '{job.id}': {status.describe()}")

    def _failed(self, awaited: _Awaited, error: Error) -> None:
        self.errors.update(dict.fromkeys(awaited.tasks, error))

    def _drop_deleted(self, ended: Container[Job]) -> None:
        """Somebody has deleted some of them meanwhile; if their end was told before
        that, it still counts."""
        for opened, ids in self._by_queue().items():
            for job_id, status in opened.queue.statuses(ids).items():
                job = opened.queue.job(job_id)
                if status is None and job not in ended:
                    error = JobNotFound(f"Job '{job_id}' was deleted while it ran")
                    self._failed(self.pending.pop(job), error)


def _ensure_all(
    opened: OpenQueue, specs: Mapping[TejTask, JobSpec], *, retry: bool = False
) -> dict[TejTask, Outcome]:
    ensured = opened.queue.ensure_many(specs.values(), retry=retry)
    return dict(zip(specs, ensured, strict=True))
