"""Open queues of this process: one connection and one status cache for each queue.

Luigi calls `complete()` for one task at a time.  The first request to the server
includes the jobs of all tasks that exist in this process, so that Luigi can schedule a
thousand tasks after one round trip.

The status of a successful job is cached for `fresh` seconds (`config.py`).  Any other
status is taken from the cache only while Luigi schedules tasks.  Luigi calls
`complete()` a second time before a task runs, and the second call makes a new request,
so that the status of an unsuccessful job is never outdated (see `cached_statuses`).
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import weakref
from collections.abc import Iterator, Mapping

import tej
from tej_luigi.config import QueueAddress, TejConfig
from tej_luigi.job_attributes import JobAttributes

logger = logging.getLogger("luigi-interface")

# The key is id(task) and not the task, because two equal tasks may exist at the same
# time, and are garbage-collected separately.
_tasks: weakref.WeakValueDictionary[int, JobAttributes] = weakref.WeakValueDictionary()


class _ThreadState(threading.local):
    """State of the calling thread."""

    since: float | None = None
    """Statuses read before this time are used only if the job has succeeded; None
    outside `cached_statuses`."""
    is_naming = False
    """Whether the calling thread is computing the job ids of all tasks."""


_thread = _ThreadState()


def add_to_requests(task: JobAttributes) -> None:
    """Include the task's job in all later status requests of this process."""
    tej.share_with_children()
    _tasks[id(task)] = task


def _job_ids(key: tuple[str, str]) -> list[str]:
    """Return the ids of the jobs of all tasks in one queue.

    A task is left out if the id of its job cannot be computed yet.
    """
    since = _thread.since
    _thread.is_naming, _thread.since = True, 0.0
    found: list[str] = []
    named: set[int] = set()
    try:
        # The loop is repeated, because the computation of a task's job id may create
        # the tasks that the task requires.
        while new := [one for one in list(_tasks.values()) if id(one) not in named]:
            named.update(map(id, new))
            for task in new:
                # Errors are ignored here, because complete() of the task raises the
                # same error.
                with contextlib.suppress(Exception):
                    if task.address.key == key:
                        found.append(task.job_id)
    finally:
        _thread.is_naming, _thread.since = False, since
    return found


@contextlib.contextmanager
def cached_statuses(task: object = None) -> Iterator[None]:
    """Decide which cached statuses `complete()` may use inside this context.

    Luigi calls `complete()` of `task` first when Luigi schedules the task, and again
    before the task runs.  The first call may use all cached statuses.  Later calls, and
    calls without `task`, make a new request for a job that has not succeeded, because
    Luigi would skip or fail a task whose requirement has an outdated status.
    """
    if _thread.since is not None:
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


class OpenQueue:
    """A queue with a cache of the statuses of its jobs; threads may share it."""

    def __init__(self, address: QueueAddress) -> None:
        self.queue = tej.shared_queue(
            address.destination,
            address.queue,
            setup_runtime=address.runtime,
            accept_new_host_key=TejConfig().accept_new_host_key,
        )
        self._key = address.key
        self._fresh = TejConfig().fresh
        self._lock = threading.Lock()
        self._cached: dict[str, tuple[tej.JobStatus | None, float]] = {}
        """For each job id, the status (None if no such job exists) and the time of the
    request."""

    def status(self, job_id: str) -> tej.JobStatus | None:
        """Return the status of a job, or None if the job does not exist.

        Outside of the context `cached_statuses`, a status is taken from the cache only
        if the job has succeeded.  Raises tej.Error if the server does not reply.
        """
        since = time.monotonic() if _thread.since is None else _thread.since
        with self._lock:
            if self._is_usable(job_id, since):
                return self._cached[job_id][0]
        if _thread.is_naming:
            # The id of another task is being computed, and depends on the results of
            # this job. The status of this job is not requested now, because one request
            # for all jobs follows when all ids are known.
            raise tej.Error(f"The state of job '{job_id}' has not been requested yet")
        others = _job_ids(self._key)
        with self._lock:
            self._request(job_id, others)
            return self._cached[job_id][0]

    def put(self, status: tej.JobStatus) -> None:
        """Store the status if the job has succeeded, else remove the cached status."""
        with self._lock:
            self._cached.pop(status.job_id, None)
            if status.succeeded:
                self._cached[status.job_id] = (status, time.monotonic())

    def forget(self, job_id: str) -> None:
        """Remove the status of a job from the cache."""
        with self._lock:
            self._cached.pop(job_id, None)

    def delete(
        self, jobs: Mapping[str, tej.JobStatus]
    ) -> Mapping[str, tej.Error | None]:
        """Delete jobs with one request, and return the error of each job by its id."""
        for job_id in jobs:
            self.forget(job_id)
        try:
            return self.queue.delete_many(jobs.values())
        except tej.Error as error:
            return dict.fromkeys(jobs, error)

    def _is_usable(self, job_id: str, since: float) -> bool:
        status, received = self._cached.get(job_id, (None, -1.0))
        if received < 0 or time.monotonic() - received > self._fresh:
            return False
        return received >= since or (status is not None and status.succeeded)

    def _request(self, job_id: str, others: list[str]) -> None:
        now = time.monotonic()
        wanted = [job_id, *(one for one in others if not self._is_usable(one, now))]
        found = self._read_statuses(wanted)
        self._cached.update((one, (status, now)) for one, status in found.items())

    def _read_statuses(self, job_ids: list[str]) -> dict[str, tej.JobStatus | None]:
        failures = 0
        while True:
            try:
                return self.queue.statuses(job_ids)
            except tej.QueueNotFound:
                # No job exists yet, because the first job creates the queue.
                return dict.fromkeys(job_ids)
            except tej.ConnectionFailed as error:
                # If the server has never replied, its name may be wrong, so the error
                # is raised.
                if not tej.is_temporary(error) or not self.queue.was_reached:
                    raise
                logger.warning("%s; trying again (jobs are not affected)", error)
                failures += 1
                self.queue.connection.retries.pause(failures)


_open: dict[tuple[str, str], OpenQueue] = {}


def open_queue(address: QueueAddress) -> OpenQueue:
    """Return the open queue at `address`.

    The connection is made when the queue is first used.
    """
    tej.share_with_children()
    found = _open.get(address.key)
    # If several threads open the queue, `setdefault` returns the same object to all.
    return found or _open.setdefault(address.key, OpenQueue(address))


def close_queues() -> None:
    """Close all connections, and remove all cached statuses."""
    _open.clear()
    tej.close_shared_queues()


if hasattr(os, "register_at_fork"):
    # The queues of the parent process are removed because a thread of the parent may
    # have locked their locks, and because their cached statuses may be outdated.
    os.register_at_fork(after_in_child=_open.clear)
