"""`as_completed`: yield the jobs of several queues in the order in which they end.

For each queue, `wait_request.py` determines the order.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping

from tej.job.status import JobStatus
from tej.queue.job import Job
from tej.queue.remote import RemoteQueue, renamed
from tej.queue.status_requests import get_statuses
from tej.queue.tick import TICK
from tej.queue.wait_timeout import check_timeout, ended_among, wait_timeout
from tej.transport.local_shortage import start_thread

End = JobStatus | Exception | None
"""The final status of a job; None if the job does not exist; or the exception that
ended the wait for the jobs of its queue."""


def as_completed(
    jobs: Iterable[Job[RemoteQueue]],
    timeout: float | None = None,
    *,
    on_tick: Callable[[], object] | None = None,
    meanwhile: Callable[[], object] | None = None,
) -> Iterator[tuple[Job[RemoteQueue], JobStatus]]:
    """Yield each job with its final status, in the order in which the jobs end.

    The jobs may be in several queues.  One request per queue waits for all jobs in the
    queue.  `on_tick` is called about once a second in the thread that waits.  If
    `on_tick` raises an exception, the wait ends with that exception.  `meanwhile` is
    the deprecated name of `on_tick`.  Raises WaitTimeout after `timeout` seconds, and
    JobNotFound if a job does not exist.
    """
    if meanwhile is not None:
        on_tick = renamed("meanwhile", "on_tick", meanwhile)
    check_timeout(timeout)
    pending: dict[RemoteQueue, dict[str, Job[RemoteQueue]]] = {}
    for job in jobs:
        pending.setdefault(job.queue, {})[job.id] = job
    return _checked(pending, timeout, on_tick)


def _checked(
    pending: dict[RemoteQueue, dict[str, Job[RemoteQueue]]],
    timeout: float | None,
    on_tick: Callable[[], object] | None,
) -> Iterator[tuple[Job[RemoteQueue], JobStatus]]:
    total = sum(map(len, pending.values()))
    deadline = None if timeout is None else time.monotonic() + timeout
    for one, job_id, end in ends_of(pending, deadline, on_tick):
        if end is None:
            raise one.connection.job_not_found(job_id)
        if isinstance(end, Exception):
            raise end
        yield pending[one].pop(job_id), end
    for one, jobs in pending.items():
        last = get_statuses(one.connection, [*jobs])
        for job_id, status in ended_among(one.connection, last):
            yield jobs.pop(job_id), status
    left = [job_id for jobs in pending.values() for job_id in jobs]
    if left:
        assert timeout is not None
        raise wait_timeout(timeout, left, total)


class _Abandoned(Exception):
    """Raised in a waiting thread to end the thread after the iterator was closed."""


def ends_of(
    pending: Mapping[RemoteQueue, Iterable[str]],
    deadline: float | None,
    on_tick: Callable[[], object] | None = None,
) -> Generator[tuple[RemoteQueue, str, End], None, None]:
    """Yield the queue, the id and the `End` of each job, in the order of the ends.

    If `deadline` (a value of `time.monotonic`) is reached, the iterator ends without an
    error.  If the wait for the jobs of one queue fails, the exception is yielded as the
    `End` of each pending job in that queue.  The wait for the other queues continues.
    """
    by_queue = {one: list(ids) for one, ids in pending.items()}
    by_queue = {one: ids for one, ids in by_queue.items() if ids}
    if len(by_queue) == 1:
        # If there is only one queue, no further thread is necessary.
        ((only, ids),) = by_queue.items()
        yield from _ends_in(only, ids, deadline, on_tick)
        return
    yield from _merge(by_queue, deadline, on_tick)


def _ends_in(
    one: RemoteQueue,
    ids: list[str],
    deadline: float | None,
    on_tick: Callable[[], object] | None,
) -> Iterator[tuple[RemoteQueue, str, End]]:
    raised: list[BaseException] = []

    def tick() -> None:
        try:
            if on_tick is not None:
                on_tick()
        except BaseException as error:
            raised.append(error)
            raise

    left = dict.fromkeys(ids)
    try:
        for job_id, status in one.watcher.ends(ids, deadline, tick):
            del left[job_id]
            yield one, job_id, status
    except Exception as error:
        if error in raised:
            raise
        for job_id in left:
            yield one, job_id, error


def _merge(
    by_queue: Mapping[RemoteQueue, list[str]],
    deadline: float | None,
    on_tick: Callable[[], object] | None,
) -> Iterator[tuple[RemoteQueue, str, End]]:
    """Yield the ends of jobs in several queues, with one waiting thread per queue."""
    Item = tuple[RemoteQueue, str, End] | BaseException | None
    arrived: queue.SimpleQueue[Item] = queue.SimpleQueue()
    abandoned = threading.Event()

    def check() -> None:
        if abandoned.is_set():
            raise _Abandoned

    def watch(one: RemoteQueue, ids: list[str]) -> None:
        try:
            for end in _ends_in(one, ids, deadline, check):
                arrived.put(end)
            arrived.put(None)
        except BaseException as error:
            arrived.put(error)

    left = len(by_queue)
    due = 0.0
    try:
        for item in by_queue.items():
            thread = threading.Thread(target=watch, args=item, daemon=True)
            start_thread(thread, item[0].destination_string)
        while left:
            if on_tick is not None and time.monotonic() >= due:
                on_tick()
                due = time.monotonic() + TICK
            try:
                got = arrived.get(timeout=TICK)
            except queue.Empty:
                continue
            if isinstance(got, BaseException):
                raise got
            if got is None:
                left -= 1
            else:
                yield got
    finally:
        abandoned.set()
