"""Download of the results of ended jobs, with one request for several jobs."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tej.errors import (
    AuthenticationFailed,
    ConnectionFailed,
    Error,
    HostKeyRejected,
)
from tej.queue.download_receiver import Downloaded
from tej.queue.file_patterns import OptionalFile
from tej.queue.job import Job
from tej.queue.remote import RemoteQueue
from tej.queue.request_size import JOBS_PER_REQUEST
from tej.queue.retry_policy import RefusedLogins
from tej.queue.run_result import (
    Observer,
    RunResult,
    fail_unless_failed,
)
from tej.queue.tick import TICK

logger = logging.getLogger("tej")


class Pauses:
    """The pauses of the queues: times without requests after a lost connection, or
    after a refused login."""

    def __init__(self) -> None:
        self._tries: Counter[RemoteQueue] = Counter()
        self._refused: dict[RemoteQueue, RefusedLogins] = {}
        self._ends: dict[RemoteQueue, float] = {}

    def end(self, queue: RemoteQueue) -> float:
        """Return the time (`time.monotonic`) at which the pause of the queue ends or
        ended; 0 if there was no pause."""
        return self._ends.get(queue, 0.0)

    def is_over(self, queue: RemoteQueue) -> bool:
        """Return whether a request may be sent to the queue now."""
        return time.monotonic() >= self.end(queue)

    def start(self, queue: RemoteQueue, error: Exception) -> bool:
        """Log the error of a request, and start a pause, which is longer at each retry.

        Returns False, and starts no pause, if a retry is useless.
        """
        retries = queue.connection.retries
        if isinstance(error, AuthenticationFailed) and queue.was_reached:
            refused = self._refused.setdefault(queue, RefusedLogins())
            pause = refused.delay(retries, error)
            if pause is None:
                return False
        elif is_temporary(error):
            self._refused.pop(queue, None)
            self._tries[queue] += 1
            pause = retries.delay(self._tries[queue] + 1)
            logger.warning("%s; trying again in %.0f s", error, pause)
        else:
            return False
        self._ends[queue] = time.monotonic() + pause
        return True

    def reset(self, queue: RemoteQueue) -> None:
        """Make the next pause the shortest one again, after a request has succeeded."""
        del self._tries[queue]
        self._refused.pop(queue, None)


class _Fetches:
    """Results that one request fetches from one queue to one local directory."""

    def __init__(self) -> None:
        self.results: list[RunResult] = []
        self.wanted: dict[str, list[str]] = {}
        """For each job id, the patterns of all runs that share the job."""

    def add(self, result: RunResult, patterns: Iterable[str]) -> None:
        assert result.job is not None
        self.results.append(result)
        known = self.wanted.setdefault(result.job.id, [])
        for one in patterns:
            if one not in known:
                known.append(one)
            elif not isinstance(one, OptionalFile):
                # A file that one run requires is required, even if another run names
                # the same file as an `OptionalFile`.
                known[known.index(one)] = one

    def is_shared(self, job: Job[RemoteQueue]) -> bool:
        """Return whether several runs share the job."""
        return sum(one.job == job for one in self.results) > 1


class ResultFetcher:
    """Fetches the results of jobs that have ended, and calls `on_fetch` afterwards."""

    def __init__(self, pauses: Pauses, on_fetch: Observer) -> None:
        self.pending: list[RunResult] = []
        """Results that have not been fetched yet."""
        self._pauses = pauses
        self._on_fetch = on_fetch
        # Results that must be fetched separately, because one fetch for several runs of
        # the same job has failed.
        self._alone: set[RunResult] = set()

    def fetch(self) -> None:
        """Fetch the results of jobs that have ended."""
        waiting = [one for one in self.pending if self._pauses.is_over(one.run.queue)]
        for begin in range(0, len(waiting), JOBS_PER_REQUEST):
            over = self._fetch_some(waiting[begin : begin + JOBS_PER_REQUEST])
            # Remove the results from `pending` only now.  After an exception, such as
            # KeyboardInterrupt, the next call then fetches these results again.
            done = set(over)
            self.pending = [one for one in self.pending if one not in done]
            if over:
                self._on_fetch(over)

    def _fetch_some(self, waiting: Sequence[RunResult]) -> list[RunResult]:
        """Fetch the results in `waiting`; return the results that are complete now."""
        groups: dict[tuple[RemoteQueue, Path, RunResult | None], _Fetches] = {}
        over: list[RunResult] = []
        for result in waiting:
            patterns = _patterns(result)
            if not patterns:
                over.append(result)
                continue
            alone = result if result in self._alone else None
            key = (result.run.queue, Path(result.run.directory), alone)
            groups.setdefault(key, _Fetches()).add(result, patterns)
        for (queue, directory, _), fetches in groups.items():
            if not self._pauses.is_over(queue):
                # An earlier request of this loop has lost the connection.
                continue
            try:
                directory.mkdir(parents=True, exist_ok=True)
                fetched = queue.download_many(fetches.wanted, directory=directory)
            except (Error, OSError) as error:
                if not self._pauses.start(queue, error):
                    fail_unless_failed(fetches.results, error)
                    over += fetches.results
                continue
            self._pauses.reset(queue)
            over += self._record(fetches, fetched)
        return over

    def _record(
        self, fetches: _Fetches, fetched: Mapping[str, Downloaded]
    ) -> list[RunResult]:
        """Store the outcomes of one request; return the results that are complete.

        If several runs share a job, and a file of one run is missing, the results of
        each run are fetched again separately, so that only that run gets the error.
        """
        over = []
        for result in fetches.results:
            assert result.job is not None
            outcome = fetched[result.job.id]
            if outcome.error is not None and fetches.is_shared(result.job):
                self._alone.add(result)
                continue
            result.files = outcome.files
            if outcome.error is not None:
                fail_unless_failed([result], outcome.error)
            over.append(result)
        return over


def fetch_results(results: Iterable[RunResult], on_fetch: Observer) -> None:
    """Fetch the results of jobs that have ended, with one request for up to 100 jobs.

    The `job` and the `status` of each `RunResult` must be set.  The function sets
    `files`, or else `error`, and calls `on_fetch` as `Batch` does.  If a connection is
    lost, the function waits until the server replies again.
    """
    fetcher = ResultFetcher(Pauses(), on_fetch)
    fetcher.pending = [*results]
    fetcher.fetch()
    while fetcher.pending:
        time.sleep(TICK)
        fetcher.fetch()


def _patterns(result: RunResult) -> list[str]:
    """Return the names and patterns of the files to fetch.

    If `Run.results` is a function and raises an exception, returns an empty list, and
    stores the exception as the `error` of the `RunResult`.
    """
    wanted = result.run.results
    if not callable(wanted):
        return [*wanted]
    assert result.status is not None
    try:
        return [*wanted(result.status)]
    except Exception as error:
        fail_unless_failed([result], error)
        return []


def is_temporary(error: Exception) -> bool:
    """Return whether a retry is useful: the server is unreachable, or the connection
    was lost."""
    return isinstance(error, ConnectionFailed) and not isinstance(
        error, AuthenticationFailed | HostKeyRejected
    )
