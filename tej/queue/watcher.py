"""One channel for all who wait on a queue, however many threads they are in.

The server's `wait` tells of each job as it ends.  When somebody comes to wait for
another job, it is ended and begun anew with all ids; when the connection is lost, too.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator

from tej.errors import AuthenticationFailed, ConnectionFailed, HostKeyRejected
from tej.job.status import JobStatus
from tej.queue.retry import Exchange
from tej.wire import protocol
from tej.wire.protocol import Outdated, Program

logger = logging.getLogger("tej")

TOGETHER = 0.05
"""Seconds in which those who come to wait are taken together."""

TICK = 1.0
"""Seconds after which those who wait look around."""

MakeProgram = Callable[[str, list[str]], Program]


class _Waiter:
    """Somebody who waits for some jobs."""

    def __init__(self, job_ids: Iterable[str]) -> None:
        self.pending = set(job_ids)
        self.ended: list[tuple[str, JobStatus | None]] = []
        self.error: BaseException | None = None


class Watcher:
    """Waits for the ends of jobs in one queue.  Safe to share between threads; a
    process forked off begins without its parent's waiters."""

    def __init__(self, exchange: Exchange, make: MakeProgram) -> None:
        self._exchange = exchange
        self._make = make
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._waiters: list[_Waiter] = []
        self._thread: threading.Thread | None = None
        self._asked: set[str] = set()
        self._stop = threading.Event()

    def ends(
        self,
        job_ids: Iterable[str],
        deadline: float | None = None,
        meanwhile: Callable[[], object] | None = None,
    ) -> Iterator[tuple[str, JobStatus | None]]:
        """Each job with its final status as it ends, None if it is not there.

        Stops at `deadline` (of `time.monotonic`) with the rest untold.  Goes on through
        lost connections; raises what no patience can mend, and what `meanwhile` raises.
        """
        if self._pid != os.getpid():
            self._reset()
        waiter = _Waiter(job_ids)
        due = 0.0
        try:
            self._join(waiter)
            while waiter.pending or waiter.ended or waiter.error:
                if meanwhile is not None and time.monotonic() >= due:
                    meanwhile()
                    due = time.monotonic() + TICK
                with self._changed:
                    if not (waiter.ended or waiter.error):
                        left = None if deadline is None else deadline - time.monotonic()
                        if left is not None and left <= 0:
                            return
                        # Never for ever in one go: Ctrl-C has to get through.
                        self._changed.wait(TICK if left is None else min(left, TICK))
                    ended, waiter.ended = waiter.ended, []
                    if not ended and waiter.error:
                        raise waiter.error
                yield from ended
        finally:
            self._leave(waiter)

    def _join(self, waiter: _Waiter) -> None:
        with self._changed:
            self._waiters.append(waiter)
            if not waiter.pending <= self._asked:
                self._stop.set()
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._watch, name="tej wait", daemon=True
                )
                self._thread.start()

    def _leave(self, waiter: _Waiter) -> None:
        with self._changed:
            self._waiters.remove(waiter)
            if not self._waiters:
                self._stop.set()

    def _watch(self) -> None:
        """In a thread of its own, as long as anybody waits."""
        tries = 0
        while True:
            time.sleep(TOGETHER)
            with self._changed:
                self._asked = {job for one in self._waiters for job in one.pending}
                self._stop.clear()
                if not self._asked:
                    self._thread = None
                    return
            try:
                self._ask_once(sorted(self._asked))
                tries = 0
            except (AuthenticationFailed, HostKeyRejected, Outdated) as error:
                self._fail(error)
            except ConnectionFailed as error:
                logger.info("%s; still waiting", error)
                tries += 1
                if not self._exchange.reached and tries >= self._exchange.retries.limit:
                    # It may be a name that is wrong: patience is for what was there.
                    self._fail(error)
                else:
                    self._exchange.retries.pause(tries)
            except Exception as error:
                self._fail(error)

    def _ask_once(self, job_ids: list[str]) -> None:
        unread = b""
        head: dict[str, str] = {}

        def take(data: bytes) -> None:
            nonlocal unread
            if data:
                self._exchange.reached = True
            else:
                # Should the program be sent again, its words begin anew.
                unread = b""
                self._stop.set()
                return
            *words, unread = (unread + data).split(b"\0")
            answer = protocol.parse_answer(b"\0".join(words))
            head.update(answer.head)
            for record in answer.jobs:
                status = None
                if "state" in record:
                    status = protocol.parse_status(record, head)
                self._tell(record["id"], status)

        def until_stopped() -> Iterator[bytes]:
            self._stop.wait()
            yield from ()

        self._exchange.run_verb(
            lambda digest: self._make(digest, job_ids), take, until_stopped()
        )

    def _tell(self, job_id: str, status: JobStatus | None) -> None:
        with self._changed:
            # Told once: who comes to wait for it now has to ask again.
            self._asked.discard(job_id)
            for waiter in self._waiters:
                if job_id in waiter.pending:
                    waiter.pending.discard(job_id)
                    waiter.ended.append((job_id, status))
            self._changed.notify_all()

    def _fail(self, error: Exception) -> None:
        with self._changed:
            for waiter in self._waiters:
                waiter.error = error
                waiter.pending.clear()
            self._changed.notify_all()
