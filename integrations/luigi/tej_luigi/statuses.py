"""What is known of the jobs in one queue: asked for together, and kept for a moment.

Luigi asks every task by itself whether it is complete, one after the other.  The first
question here takes along all tasks that are known by then: one round trip.

A "finished well" is kept for some seconds.  A "no" is told once: whoever asks for the
same job again, as Luigi does before it runs what depends on it, gets a new answer.
"""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from typing import TYPE_CHECKING, Protocol

from tej.errors import QueueDoesntExist, QueueLinkBroken
from tej.job.status import JobStatus

if TYPE_CHECKING:
    from tej.queue import RemoteQueue
    from tej_luigi.config import Place


class Asking(Protocol):
    """A task that has a job."""

    @property
    def place(self) -> Place: ...

    @property
    def job_id(self) -> str: ...


# By identity: of two tasks that are equal, one may be gone soon.
_asking: weakref.WeakValueDictionary[int, Asking] = weakref.WeakValueDictionary()
_naming = threading.local()


def take_along(task: Asking) -> None:
    """From now on its job is asked for together with the others."""
    _asking[id(task)] = task


def _others(key: tuple[str, str]) -> list[str]:
    """The jobs of all tasks in that place, as far as they can be named yet."""
    if getattr(_naming, "begun", False):
        # Naming one task's job has led to the question for another's.
        return []
    _naming.begun = True
    found = []
    try:
        for task in list(_asking.values()):
            # What is wrong with a task is told when it is asked for itself.
            with contextlib.suppress(Exception):
                if task.place.key == key:
                    found.append(task.job_id)
    finally:
        _naming.begun = False
    return [*dict.fromkeys(found)]


class _Answer:
    def __init__(self, status: JobStatus | None) -> None:
        self.status = status
        self.time = time.monotonic()
        self.told = False

    def good(self, fresh: float) -> bool:
        if time.monotonic() - self.time > fresh:
            return False
        done = self.status is not None and self.status.succeeded
        return done or not self.told


class Statuses:
    """Of one queue, in one process.  Safe to share between threads."""

    def __init__(self, queue: RemoteQueue, key: tuple[str, str], fresh: float) -> None:
        self._queue = queue
        self._key = key
        self._fresh = fresh
        self._lock = threading.Lock()
        self._answers: dict[str, _Answer] = {}

    def get(self, job_id: str) -> JobStatus | None:
        """The status of a job, None if it is not there.  Raises if there is no answer:
        that is not the same."""
        with self._lock:
            answer = self._good(job_id)
            if answer is not None:
                answer.told = True
                return answer.status
        return self.now(job_id)

    def now(self, job_id: str) -> JobStatus | None:
        """The same, asked for now."""
        wanted = [job_id, *_others(self._key)]
        with self._lock:
            self._ask(wanted)
            answer = self._answers[job_id]
            answer.told = True
            return answer.status

    def _good(self, job_id: str) -> _Answer | None:
        answer = self._answers.get(job_id)
        return answer if answer is not None and answer.good(self._fresh) else None

    def put(self, status: JobStatus) -> None:
        """Known from elsewhere, and newer than what was answered.  If the job has not
        finished well, it is asked for when somebody wants to know."""
        with self._lock:
            self._answers.pop(status.job_id, None)
            if status.succeeded:
                self._answers[status.job_id] = _Answer(status)

    def _ask(self, job_ids: list[str]) -> None:
        wanted = [job_ids[0]] + [one for one in job_ids[1:] if self._good(one) is None]
        try:
            found = self._queue.statuses(wanted)
        except QueueLinkBroken:
            raise
        except QueueDoesntExist:
            # It is made with its first job.
            found = dict.fromkeys(wanted)
        for job_id, status in found.items():
            self._answers[job_id] = _Answer(status)
