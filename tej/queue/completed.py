"""`as_completed`: handles in the order in which their jobs end, on any queues."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator

from tej.job.status import JobStatus
from tej.queue.job import Job
from tej.queue.remote import RemoteQueue
from tej.queue.watcher import TICK


def as_completed(
    jobs: Iterable[Job],
    timeout: float | None = None,
    *,
    meanwhile: Callable[[], object] | None = None,
) -> Iterator[tuple[Job, JobStatus]]:
    """Each job with its final status, as it ends, well or not.

    The jobs may be in several queues; each queue has one channel, however many of its
    jobs are waited for.  `meanwhile` is called about once a second by the thread that
    waits; what it raises ends the wait.  Raises WaitTimeout after `timeout` seconds,
    and JobNotFound.
    """
    by_queue: dict[RemoteQueue, dict[str, Job]] = {}
    for job in jobs:
        by_queue.setdefault(job.queue, {})[job.id] = job
    if len(by_queue) <= 1:
        for one, handles in by_queue.items():
            ends = one.as_completed(handles, timeout, meanwhile=meanwhile)
            for job_id, status in ends:
                yield handles[job_id], status
        return
    yield from _merge(by_queue, timeout, meanwhile)


class _Abandoned(Exception):
    """Nobody waits any more."""


def _merge(
    by_queue: dict[RemoteQueue, dict[str, Job]],
    timeout: float | None,
    meanwhile: Callable[[], object] | None,
) -> Iterator[tuple[Job, JobStatus]]:
    told: queue.SimpleQueue[tuple[Job, JobStatus] | BaseException | None]
    told = queue.SimpleQueue()
    gone = threading.Event()

    def look() -> None:
        if gone.is_set():
            raise _Abandoned

    def watch(one: RemoteQueue, handles: dict[str, Job]) -> None:
        try:
            for job_id, status in one.as_completed(handles, timeout, meanwhile=look):
                told.put((handles[job_id], status))
            told.put(None)
        except BaseException as error:
            told.put(error)

    for item in by_queue.items():
        threading.Thread(target=watch, args=item, daemon=True).start()
    left = len(by_queue)
    try:
        while left:
            if meanwhile is not None:
                meanwhile()
            try:
                got = told.get(timeout=TICK)
            except queue.Empty:
                continue
            if isinstance(got, BaseException):
                raise got
            if got is None:
                left -= 1
            else:
                yield got
    finally:
        gone.set()
