"""Waiting for jobs: one `wait` request per queue waits for the jobs of all threads.

The server's `commands/wait` checks the jobs, and reports each job when the job ends.
The server also chooses the interval between two checks (`lib/wait_interval.sh`).

If a thread starts to wait for another job, or if the connection is lost, the request is
sent again with the ids of all pending jobs.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from tej.errors import (
    AuthenticationFailed,
    ConnectionFailed,
    HostKeyRejected,
    QueueDoesntExist,
    RemoteCommandFailure,
)
from tej.job.status import JobStatus
from tej.queue.connection import QueueConnection, check_job_ids
from tej.queue.retry_policy import OUTAGE_TIMEOUT, STABLE, RefusedLogins
from tej.queue.status_requests import get_statuses
from tej.queue.tick import TICK
from tej.queue.wait_timeout import check_timeout, ended_among, wait_timeout
from tej.transport.local_shortage import start_thread
from tej.wire.framing import RecordSplitter
from tej.wire.records import parse_status
from tej.wire.replies import Record, is_missing, parse_reply
from tej.wire.requests import NO_INPUT

logger = logging.getLogger("tej")

SHORT_OUTAGE = 2
"""Number of lost connections in succession that cause no warning."""
GATHER = 0.05
"""Seconds for which a request is delayed, to collect the job ids of several threads."""


class Waiter:
    """A waiting thread or task, and the ended jobs that were not passed to it yet."""

    def __init__(self, job_ids: Iterable[str], wake: Callable[[], object]) -> None:
        self.pending = set(job_ids)
        self.ended: list[tuple[str, JobStatus | None]] = []
        self.error: BaseException | None = None
        self.wake = wake


@dataclass
class _Failures:
    """Failures of the `wait` request since it last succeeded."""

    tries: int = 0
    since: float | None = None
    """Time (`time.monotonic`) since which the request fails on the server, or None."""
    refused: RefusedLogins = field(default_factory=RefusedLogins)


class Watcher:
    """Waits for jobs in one queue; all threads of the process share one `Watcher`.

    One background thread sends the `wait` request as long as a thread waits for a job.
    A forked child process does not have the background thread, and may have inherited a
    lock that no thread releases.  The child process therefore creates a new lock and
    an empty list of waiting threads (`_reset`).
    """

    def __init__(self, connection: QueueConnection) -> None:
        self._connection = connection
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        """Id of the process to which the background thread and the lock belong."""
        self._changed = threading.Condition()
        self._waiters: list[Waiter] = []
        self._thread: threading.Thread | None = None
        self._requested: set[str] = set()
        """Ids of the jobs that the current `wait` request has not reported yet."""
        self._stop = threading.Event()
        """Set to end the current `wait` request."""
        self._is_outdated = False
        """Whether the `wait` request was ended to send a new list of jobs."""
        self._has_begun = False
        """Whether the server has replied to a `wait` request at least once."""

    def as_completed(
        self,
        job_ids: Iterable[str],
        timeout: float | None = None,
        on_tick: Callable[[], object] | None = None,
    ) -> Iterator[tuple[str, JobStatus]]:
        """Yield each job id with its final status; see `RemoteQueue.as_completed`."""
        ids = check_job_ids(job_ids)
        check_timeout(timeout)
        deadline = None if timeout is None else time.monotonic() + timeout
        pending = dict.fromkeys(ids)
        for job_id, status in self.ends(ids, deadline, on_tick):
            if status is None:
                raise self._connection.job_not_found(job_id)
            del pending[job_id]
            yield job_id, status
        last = get_statuses(self._connection, pending)
        for job_id, status in ended_among(self._connection, last):
            del pending[job_id]
            yield job_id, status
        if pending:
            assert timeout is not None
            raise wait_timeout(timeout, pending, len(ids))

    def wait(
        self, job_ids: Iterable[str], timeout: float | None = None
    ) -> dict[str, JobStatus]:
        """Return the final status of each job; see `RemoteQueue.wait`."""
        ids = list(job_ids)
        ended = dict(self.as_completed(ids, timeout))
        return {job_id: ended[job_id] for job_id in dict.fromkeys(ids)}

    def ends(
        self,
        job_ids: Iterable[str],
        deadline: float | None = None,
        on_tick: Callable[[], object] | None = None,
    ) -> Iterator[tuple[str, JobStatus | None]]:
        """Yield each job id with the final status when the job ends.

        If a job does not exist, None is yielded instead of its status.  At `deadline`
        (a value of `time.monotonic`) the iterator ends without an error.  After a lost
        connection, the wait continues over a new connection.  If a wait that has begun
        fails on the server, or no longer finds the queue, it is repeated for
        OUTAGE_TIMEOUT seconds.  Raises an error that a retry cannot resolve, and any
        exception that `on_tick` raises.
        """
        due = 0.0
        with self.waiting(job_ids) as waiter:
            while waiter.pending or waiter.ended or waiter.error:
                if on_tick is not None and time.monotonic() >= due:
                    on_tick()
                    due = time.monotonic() + TICK
                left = TICK if deadline is None else deadline - time.monotonic()
                if not self._wait_for_news(waiter, left):
                    return
                yield from self.collect(waiter)

    def _wait_for_news(self, waiter: Waiter, left: float) -> bool:
        """Wait at most TICK or `left` seconds until a job ends or the wait fails.

        Returns False if `left` is not positive, and neither has happened.
        """
        with self._changed:
            if waiter.ended or waiter.error:
                return True
            if left <= 0:
                return False
            # Limit the time of the wait, because `on_tick` must be called, and because
            # Python handles Ctrl-C only between two waits.
            self._changed.wait(min(left, TICK))
            return True

    @contextlib.contextmanager
    def waiting(
        self, job_ids: Iterable[str], wake: Callable[[], object] = lambda: None
    ) -> Iterator[Waiter]:
        """Wait for jobs while the context is open; `collect` returns the ended jobs.

        When a job ends, the background thread calls `wake`, which must return
        immediately.  Entering the context and calling `collect` never wait for the
        server.
        """
        if self._pid != os.getpid():
            self._reset()
        waiter = Waiter(job_ids, wake)
        try:
            self._join(waiter)
            yield waiter
        finally:
            self._leave(waiter)

    def collect(self, waiter: Waiter) -> list[tuple[str, JobStatus | None]]:
        """Return the jobs that have ended since the last call, with their statuses.

        If there is no such job, raises the error that ended the wait, if any.
        """
        with self._changed:
            ended, waiter.ended = waiter.ended, []
            if not ended and waiter.error:
                raise waiter.error
        return ended

    def _join(self, waiter: Waiter) -> None:
        with self._changed:
            self._waiters.append(waiter)
            if not waiter.pending <= self._requested:
                self._end_request()
            if self._thread is None:
                thread = threading.Thread(
                    target=self._watch, name="tej wait", daemon=True
                )
                start_thread(thread, self._connection.destination)
                self._thread = thread

    def _leave(self, waiter: Waiter) -> None:
        with self._changed:
            self._waiters.remove(waiter)
            if not self._waiters:
                self._end_request()

    def _end_request(self) -> None:
        self._is_outdated = True
        self._stop.set()

    def _watch(self) -> None:
        """Send the `wait` request as long as a thread waits for a job.

        This method runs in the background thread.
        """
        failures = _Failures()
        while True:
            time.sleep(GATHER)
            with self._changed:
                self._requested = {job for one in self._waiters for job in one.pending}
                self._stop.clear()
                self._is_outdated = False
                if not self._requested:
                    self._thread = None
                    return
            begun = time.monotonic()
            try:
                self._send_request(sorted(self._requested))
                failures = _Failures()
            except Exception as error:
                try:
                    self._pause_after(error, failures, begun)
                except Exception as final:
                    failures.refused.reset()
                    self._fail(final)

    def _pause_after(self, error: Exception, failures: _Failures, begun: float) -> None:
        """Sleep before the next request; raise `error` if a retry is useless.

        `begun` is the time (`time.monotonic`) at which the failed request was sent.
        """
        match error:
            case HostKeyRejected():
                raise error
            case AuthenticationFailed():
                failures.since = None
                if not self._has_begun:
                    raise error
                failures.refused.pause(self._connection.retries, error)
            case ConnectionFailed():
                self._pause_offline(error, failures)
            case RemoteCommandFailure() | QueueDoesntExist():
                self._pause_in_outage(error, failures, begun)
            case _:
                raise error

    def _pause_offline(self, error: ConnectionFailed, failures: _Failures) -> None:
        """Like `_pause_after`, for a lost connection."""
        if self._is_outdated:
            # Ignore the error: this client ended the request itself, to send a new
            # list of jobs.  If SIGKILL then ends the program on the server, the
            # connection seems lost.  If the connection is really lost, the next request
            # fails, too.
            return
        # An interruption of a few seconds needs no attention.
        level = logging.WARNING if failures.tries == SHORT_OUTAGE else logging.INFO
        logger.log(level, "%s; still waiting", error)
        failures.since = None
        failures.refused.reset()
        failures.tries += 1
        retries = self._connection.retries
        hopeless = error.permanent or failures.tries >= retries.limit
        if hopeless and not self._connection.reached:
            # No login has succeeded yet, so the host name may be misspelled.
            raise error
        retries.pause(failures.tries)

    def _pause_in_outage(
        self,
        error: RemoteCommandFailure | QueueDoesntExist,
        failures: _Failures,
        begun: float,
    ) -> None:
        """Like `_pause_after`, for a request that failed on the server.

        The request is repeated for a while: the server may lack processes or memory, or
        a disk may be unreadable or unmounted.
        """
        failures.refused.reset()
        now = time.monotonic()
        if failures.since is None or now - begun > STABLE:
            failures.tries, failures.since = 0, now
        is_over = now - failures.since > OUTAGE_TIMEOUT
        if isinstance(error, QueueDoesntExist):
            error.waited = now - failures.since
            is_hopeless = self._connection.removed
        else:
            # An error without an exit status means a malformed reply.
            is_hopeless = error.ret is None
        if is_hopeless or not self._has_begun or is_over:
            raise error
        if not failures.tries:
            logger.warning("%s; still waiting", error)
        failures.tries += 1
        self._connection.retries.pause(failures.tries)

    def _send_request(self, job_ids: list[str]) -> None:
        splitter = last_splitter = RecordSplitter("wait")
        head = Record()
        head.verb = "wait"
        removals = self._connection.removals
        stopped = is_refused = False
        tail = b""

        def take(data: bytes) -> None:
            nonlocal splitter, last_splitter, stopped, is_refused, tail
            if data:
                self._connection.reached = True
                tail = (tail + data)[-len(NO_INPUT) :]
                if tail == NO_INPUT:
                    is_refused = True
                    self._stop.set()
                report(splitter.feed(data))
                return
            # Empty data marks the end of a reply.  If the server's scripts are
            # upgraded, the request is sent again, and the second reply needs a new
            # splitter.
            last_splitter, splitter = splitter, RecordSplitter("wait")
            stopped = self._stop.is_set() and not is_refused
            self._stop.set()

        def report(records: bytes) -> None:
            answer = parse_reply(records, "wait")
            head.update(answer.head)
            if "queue" in head:
                self._has_begun = True
                self._connection.note_seen(removals)
            for record in answer.jobs:
                status = None
                if not is_missing(record):
                    status = parse_status(record, head)
                self._report(record["id"], status)

        def until_stopped() -> Iterator[bytes]:
            self._stop.wait()
            yield from ()

        self._connection.run_verb("wait", *job_ids, take=take, stdin=until_stopped())
        # Parse the last record only now that run_verb has succeeded: after a lost
        # connection, the last record may be incomplete.
        report(last_splitter.close())
        if self._requested and not stopped:
            # Raise RemoteCommandFailure if the reply does not name the queue.  In this
            # case the request failed, and a forced command of the SSH server changed
            # the exit status to 0.
            _ = head["queue"]
            raise ConnectionFailed("The server ended the wait before the jobs ended")

    def _report(self, job_id: str, status: JobStatus | None) -> None:
        with self._changed:
            # Each `wait` request reports a job only once, so a thread that later waits
            # for the same job needs a new request.
            self._requested.discard(job_id)
            for waiter in self._waiters:
                if job_id in waiter.pending:
                    waiter.pending.discard(job_id)
                    waiter.ended.append((job_id, status))
                    waiter.wake()
            self._changed.notify_all()

    def _fail(self, error: Exception) -> None:
        with self._changed:
            for waiter in self._waiters:
                waiter.error = error
                waiter.pending.clear()
                waiter.wake()
            self._changed.notify_all()
