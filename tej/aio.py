"""Async versions of `RemoteQueue` and `Job`, for asyncio and trio (needs anyio).

queue = tej.aio.AsyncQueue(tej.RemoteQueue("user@server.example.org"))
job = await queue.ensure("simulation/")
status = await job.wait()

One background thread per queue waits for all jobs of all tasks.  Each request runs in a
worker thread of anyio.  Cancelling a task takes effect immediately, and never kills a
job.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import queue as queues
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Mapping
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

try:
    import anyio
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "tej.aio needs the package anyio: pip install 'tej[aio]'", name="anyio"
    ) from error
from anyio.lowlevel import checkpoint
from anyio.to_thread import run_sync

from tej.job.status import JobStatus
from tej.queue.connection import check_job_ids
from tej.queue.job import Job
from tej.queue.logs import LineSplitter, LogThread, open_logs
from tej.queue.remote import RemoteQueue
from tej.queue.wait_timeout import check_timeout, ended_among, wait_timeout

__all__ = ["AsyncJob", "AsyncQueue"]

P = ParamSpec("P")
R = TypeVar("R")


class _Async:
    """Base class of `AsyncJob` and `AsyncQueue`; `sync` is the synchronous object."""

    def __init__(self, sync: Any) -> None:  # noqa: ANN401 (RemoteQueue or Job)
        self.sync = sync

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.sync!r})"


def _async_version(
    method: Callable[Concatenate[Any, P], R],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]:
    """Return the async version of a method of `RemoteQueue` or `Job`."""

    @functools.wraps(method)
    async def async_method(
        self: Any,  # noqa: ANN401 (an AsyncQueue or AsyncJob)
        *arguments: P.args,
        **options: P.kwargs,
    ) -> R:
        # Look up the method by its name, because a subclass may override the method.
        call: Callable[P, R] = getattr(self.sync, method.__name__)
        if "progress" in method.__annotations__:
            return await _transfer(call, arguments, options)
        return await _in_thread(call, *arguments, **options)

    return cast("Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]", async_method)


async def _in_thread(call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    work = functools.partial(call, *args, **kwargs)
    return await run_sync(work, abandon_on_cancel=True)


class _Cancelled(Exception):
    """Raised in the worker thread to end a transfer whose task was cancelled."""


async def _transfer(
    call: Callable[..., R], arguments: Iterable[Any], options: Mapping[str, Any]
) -> R:
    """Run an upload or a download; end the transfer soon after a cancellation."""
    progress = options.get("progress")
    cancelled = threading.Event()

    def on_piece(size: int) -> None:
        if cancelled.is_set():
            raise _Cancelled
        if progress is not None:
            progress(size)

    try:
        return await _in_thread(call, *arguments, **{**options, "progress": on_piece})
    except BaseException:
        cancelled.set()
        raise


class _ThreadSafeEvent:
    """An event that threads set, and for which one task waits."""

    def __init__(self) -> None:
        self._event = anyio.Event()
        self._schedule = _call_soon()

    def set(self) -> None:
        """Wake the task; may be called in any thread, and returns immediately."""
        # Ignore the error of an event loop that was closed without a cancellation of
        # its tasks.
        with contextlib.suppress(RuntimeError):
            self._schedule(lambda: self._event.set())

    async def wait(self) -> None:
        """Wait until `set` has been called since the last call to `wait`."""
        await self._event.wait()
        self._event = anyio.Event()


def _call_soon() -> Callable[[Callable[[], object]], object]:
    """Return the function by which threads schedule a call in this event loop."""
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        token = trio.lowlevel.current_trio_token()
        return cast("Callable[[Callable[[], object]], object]", token.run_sync_soon)
    return asyncio.get_running_loop().call_soon_threadsafe


class AsyncJob(_Async):
    """A handle on a job, with async versions of the methods of `Job`."""

    sync: Job[RemoteQueue]

    status = _async_version(Job.status)
    files = _async_version(Job.files)
    download = _async_version(Job.download)
    kill = _async_version(Job.kill)
    delete = _async_version(Job.delete)

    @property
    def id(self) -> str:
        """The job's id."""
        return self.sync.id

    @property
    def queue(self) -> AsyncQueue:
        """The queue that contains the job."""
        return AsyncQueue(self.sync.queue)

    async def wait(self, timeout: float | None = None) -> JobStatus:
        """Wait until the job has ended; return its final status.

        Raises WaitTimeout after `timeout` seconds, and JobNotFound if the job does not
        exist.
        """
        return (await self.queue.wait([self.id], timeout))[self.id]

    async def result(self, timeout: float | None = None) -> JobStatus:
        """Wait like `wait`, but raise JobFailed if the job did not succeed."""
        status = await self.wait(timeout)
        if not status.succeeded:
            raise await self.queue.failure(status)
        return status

    def logs(
        self,
        stream: str = "stdout",
        **options: Any,  # noqa: ANN401
    ) -> AsyncGenerator[bytes, None]:
        """Yield the output of the job; see `AsyncQueue.logs`."""
        return self.queue.logs(self.id, stream, **options)


class AsyncQueue(_Async):
    """A queue on a server, with async versions of the methods of `RemoteQueue`.

    `sync` is the `RemoteQueue`, which threads may use at the same time.  The function
    `progress` of a transfer is called in a worker thread.  If the task of a transfer is
    cancelled, the transfer ends with the next piece of data.  A job is then submitted
    completely or not at all, and a downloaded file is complete or was not written.
    """

    sync: RemoteQueue

    setup = _async_version(RemoteQueue.setup)
    info = _async_version(RemoteQueue.info)
    submit = _async_version(RemoteQueue.submit)
    submit_many = _async_version(RemoteQueue.submit_many)
    ensure_many = _async_version(RemoteQueue.ensure_many)
    ensure_graph = _async_version(RemoteQueue.ensure_graph)
    status = _async_version(RemoteQueue.status)
    statuses = _async_version(RemoteQueue.statuses)
    jobs = _async_version(RemoteQueue.jobs)
    failure = _async_version(RemoteQueue.failure)
    files = _async_version(RemoteQueue.files)
    download = _async_version(RemoteQueue.download)
    download_many = _async_version(RemoteQueue.download_many)
    kill = _async_version(RemoteQueue.kill)
    kill_many = _async_version(RemoteQueue.kill_many)
    delete = _async_version(RemoteQueue.delete)
    delete_many = _async_version(RemoteQueue.delete_many)
    close = _async_version(RemoteQueue.close)

    async def __aenter__(self) -> AsyncQueue:
        return self

    async def __aexit__(self, *_: object) -> None:
        # The shield lets the connection be closed even if the task was cancelled.
        with anyio.CancelScope(shield=True):
            await self.close()

    def job(self, job_id: str) -> AsyncJob:
        """Return a handle on a job; whether the job exists is not checked."""
        return AsyncJob(self.sync.job(job_id))

    async def ensure(self, directory: Any, **options: Any) -> AsyncJob:  # noqa: ANN401
        """Return the existing job, or submit a new job; see `RemoteQueue.ensure`."""
        return AsyncJob(await _transfer(self.sync.ensure, [directory], options))

    async def wait(
        self, job_ids: Iterable[str], timeout: float | None = None
    ) -> dict[str, JobStatus]:
        """Wait until all jobs have ended; return their final statuses.

        Lost connections and errors are handled as by `RemoteQueue.wait`.  Any number of
        tasks may wait at the same time; one thread per queue serves all tasks.
        """
        ids = list(job_ids)
        async with contextlib.aclosing(self.as_completed(ids, timeout)) as ends:
            ended = {job_id: status async for job_id, status in ends}
        return {job_id: ended[job_id] for job_id in dict.fromkeys(ids)}

    async def as_completed(
        self, job_ids: Iterable[str], timeout: float | None = None
    ) -> AsyncGenerator[tuple[str, JobStatus], None]:
        """Yield each job id with the final status, in the order in which the jobs end.

        If the loop over the jobs may be left early, close the iterator with
        `contextlib.aclosing`.
        """
        ids = check_job_ids(job_ids)
        check_timeout(timeout)
        deadline = float("inf") if timeout is None else time.monotonic() + timeout
        pending = dict.fromkeys(ids)
        watcher, bell = self.sync.watcher, _ThreadSafeEvent()
        with watcher.waiting(ids, bell.set) as waiter:
            while pending and time.monotonic() < deadline:
                for job_id, status in watcher.collect(waiter):
                    if status is None:
                        raise self.sync.connection.job_not_found(job_id)
                    del pending[job_id]
                    yield job_id, status
                if pending:
                    with anyio.move_on_after(deadline - time.monotonic()):
                        await bell.wait()
        last = await self.statuses(pending)
        for job_id, status in ended_among(self.sync.connection, last):
            del pending[job_id]
            yield job_id, status
        if pending:
            assert timeout is not None
            raise wait_timeout(timeout, pending, len(ids))

    async def logs(
        self,
        job_id: str,
        stream: str = "stdout",
        *,
        follow: bool = False,
        tail: int | None = None,
        lines: bool = True,
    ) -> AsyncGenerator[bytes, None]:
        """Yield the output of a job, as lines or pieces; see `RemoteQueue.logs`.

        While the output is read, the server has an open session, and this process has a
        thread for the session.  After a cancellation, the session and the thread end
        within 15 seconds.  If the loop over the output may be left early, close the
        iterator with `contextlib.aclosing`.
        """
        reader = open_logs(
            self.sync.connection, job_id, [stream], follow=follow, tail=tail
        )
        splitter, bell = LineSplitter(), _ThreadSafeEvent()
        thread = LogThread(reader, bell.set)
        try:
            while True:
                try:
                    piece = thread.pieces.get_nowait()
                except queues.Empty:
                    await bell.wait()
                    continue
                if isinstance(piece, BaseException):
                    raise piece
                if piece is None:
                    break
                for data in splitter.feed(piece.data) if lines else [piece.data]:
                    yield data
                await checkpoint()
            for data in splitter.finish():
                yield data
        finally:
            thread.close()
