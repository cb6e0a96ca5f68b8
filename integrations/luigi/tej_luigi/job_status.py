"""Cache of job statuses, which reads the statuses of all tasks in one request.

Luigi calls `complete()` for one task at a time.  The first request to the server
includes the jobs of all tasks that exist in this process, so that Luigi can schedule a
thousand tasks after one round trip.

The status of a successful job is cached for some seconds.  Any other status is taken
from the cache only while Luigi schedules tasks.  Before a task runs, Luigi calls
`complete()` again.  Then a new request is made (see `asking`), so that the status of an
unsuccessful job is never outdated.
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


# The key is id(task), because equal tasks may exist and be collected separately.
_tasks: weakref.WeakValueDictionary[int, HasJob] = weakref.WeakValueDictionary()
_thread = threading.local()
"""State of the calling thread: the attributes `since` and `naming`.

`since` is the minimum time of usable cached replies (see `asking`).  `naming` is true
while the thread computes the job ids of all tasks.
"""


def add_to_requests(task: HasJob) -> None:
    """Include the task's job in all later requests of this process."""
    _tasks[id(task)] = task


def _job_ids(key: tuple[str, str]) -> list[str]:
    """Return the ids of the jobs of all tasks in one queue.

    A task is left out if the id of its job cannot be computed yet.
    """
    if getattr(_thread, "naming", False):
        # Prevent recursion: to compute an id, the thread may have called `get` again.
        return []
    since = getattr(_thread, "since", None)
    _thread.naming, _thread.since = True, 0.0
    found = []
    try:
        for task in list(_tasks.values()):
            # Errors are ignored here, because complete() of the invalid task raises
            # the same error.
            with contextlib.suppress(Exception):
                if task.address.key == key:
                    found.append(task.job_id)
    finally:
        _thread.naming, _thread.since = False, since
    return [*dict.fromkeys(found)]


@contextlib.contextmanager
def asking(task: object = None) -> Iterator[None]:
    """Set which cached statuses a call of `complete()` may use, while it runs.

    Luigi first calls `complete()` of a `task` when Luigi schedules the task.  The first
    call may use all cached statuses.  Luigi calls `complete()` again before a task
    runs.  The later calls make a new request for a job that has not succeeded, because
    Luigi skips or fails a task if a requirement is incomplete.
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
    """Return whether this thread executes `complete()` or computes all job ids."""
    return getattr(_thread, "since", None) is not None


@dataclass
class _Answer:
    status: JobStatus | None
    time: float


class StatusCache:
    """Caches the statuses of the jobs in one queue; threads may share the cache."""

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
        """Return the status of a job, or None if the job does not exist.

        Outside of the context `asking`, a status is taken from the cache only if the
        job has succeeded.  Raises tej.Error if the server does not reply.
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
        """Store the status if the job has succeeded, else remove the cached status."""
        with self._lock:
            self._answers.pop(status.job_id, None)
            if status.succeeded:
                self._answers[status.job_id] = _Answer(status, time.monotonic())

    def forget(self, job_id: str) -> None:
        """Remove a job's status from the cache; the next `get` makes a new request."""
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
            # No job exists yet, because the first job creates the queue.
            found = dict.fromkeys(wanted)
        self._on_answer()
        for job_id, status in found.items():
            self._answers[job_id] = _Answer(status, now)
