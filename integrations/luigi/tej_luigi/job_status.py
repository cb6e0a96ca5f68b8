"""Cache of job statuses: one request for all tasks, and no stale "not complete".

Luigi calls `complete()` for one task at a time.  The first request to the server
includes the jobs of all tasks that exist in this process, so that scheduling a
thousand tasks costs one round trip.

A success is cached for some seconds.  Any other status is taken from the cache only
while tasks are scheduled.  Before a task runs, Luigi calls `complete()` again, and this
call makes a new request (see `asking`).
"""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tej.errors import QueueDoesntExist, QueueLinkBroken
from tej.job.status import JobStatus
from tej_luigi.config import QueueAddress

if TYPE_CHECKING:
    from tej.queue import RemoteQueue


class HasJob(Protocol):
    """A task with a job."""

    @property
    def address(self) -> QueueAddress: ...

    @property
    def job_id(self) -> str: ...


# Keyed by identity: two equal tasks may exist, and either may be collected first.
_tasks: weakref.WeakValueDictionary[int, HasJob] = weakref.WeakValueDictionary()
_thread = threading.local()
"""`since`: see `asking`.  `naming`: whether ids of other tasks are being computed."""


def add_to_requests(task: HasJob) -> None:
    """Include the task's job in all later requests of this process."""
    _tasks[id(task)] = task


def _job_ids(key: tuple[str, str]) -> list[str]:
    """Ids of the jobs of all tasks in one queue, if they can be computed already."""
    if getattr(_thread, "naming", False):
        # Computing an id may need the status of another task's job.
        return []
    since = getattr(_thread, "since", None)
    _thread.naming, _thread.since = True, 0.0
    found = []
    try:
        for task in list(_tasks.values()):
            # An invalid task is reported by its own complete().
            with contextlib.suppress(Exception):
                if task.address.key == key:
                    found.append(task.job_id)
    finally:
        _thread.naming, _thread.since = False, since
    return [*dict.fromkeys(found)]


@contextlib.contextmanager
def asking(task: object = None) -> Iterator[None]:
    """Context of a call of `complete()` and of the calls within it.

    The first call for a `task` happens while Luigi schedules the task, and may use the
    cache.  Later calls happen before a task runs.  They make a new request, because
    Luigi skips or fails the task if a requirement is incomplete.
    """
    if is_asking():
        yield
        return
    is_first = task is not None and not hasattr(task, "_tej_asked")
    if task is not None:
        task.__dict__["_tej_asked"] = True
    _thread.since = 0.0 if is_first else time.monotonic()
    try:
        yield
    finally:
        _thread.since = None


def is_asking() -> bool:
    """Whether this thread is in a call of `complete()` or computes ids for the call."""
    return getattr(_thread, "since", None) is not None


@dataclass
class _Answer:
    status: JobStatus | None
    time: float


class StatusCache:
    """The statuses of the jobs in one queue.  Safe to share between threads."""

    def __init__(
        self,
        queue: RemoteQueue,
        key: tuple[str, str],
        fresh: float,
        on_answer: Callable[[], object] = lambda: None,
    ) -> None:
        self._queue = queue
        self._on_answer = on_answer
        self._key = key
        self._fresh = fresh
        self._lock = threading.Lock()
        self._answers: dict[str, _Answer] = {}

    def get(self, job_id: str) -> JobStatus | None:
        """The status of a job, or None if the job does not exist.

        Outside of `asking`, only a success is taken from the cache.  Raises tej.Error
        if the server does not answer.
        """
        since = _thread.since if is_asking() else time.monotonic()
        with self._lock:
            answer = self._usable(job_id, since)
        if answer is not None:
            return answer.status
        wanted = [job_id, *_job_ids(self._key)]
        with self._lock:
            self._request(wanted)
            return self._answers[job_id].status

    def _usable(self, job_id: str, since: float) -> _Answer | None:
        answer = self._answers.get(job_id)
        if answer is None or time.monotonic() - answer.time > self._fresh:
            return None
        succeeded = answer.status is not None and answer.status.succeeded
        return answer if succeeded or answer.time >= since else None

    def check(self) -> None:
        """Raise ConnectionFailed if the server cannot be reached."""
        self._queue.shell(":", again=True)
        self._on_answer()

    def put(self, status: JobStatus) -> None:
        """Store a status that came with another reply, if it is a success."""
        with self._lock:
            self._answers.pop(status.job_id, None)
            if status.succeeded:
                self._answers[status.job_id] = _Answer(status, time.monotonic())

    def forget(self, job_id: str) -> None:
        """Remove a job from the cache, so that its status is requested again."""
        with self._lock:
            self._answers.pop(job_id, None)

    def _request(self, job_ids: list[str]) -> None:
        now = time.monotonic()
        wanted = [job_ids[0]]
        wanted += [one for one in job_ids[1:] if self._usable(one, now) is None]
        try:
            found = self._queue.statuses(wanted)
        except QueueLinkBroken:
            raise
        except QueueDoesntExist:
            # The first job creates the queue.
            found = dict.fromkeys(wanted)
        self._on_answer()
        for job_id, status in found.items():
            self._answers[job_id] = _Answer(status, now)
