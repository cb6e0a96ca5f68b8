"""Downloads of the results of many jobs, in few requests.

`Batch` uses this module.
"""

from __future__ import annotations

import logging
import time
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
from tej.queue.run_result import GROUP, Observer, RunResult, fail_unless_failed

logger = logging.getLogger("tej")


class Pause:
    """Pause before the next request after a lost connection."""

    def __init__(self) -> None:
        self._tries = 0
        self._due = 0.0

    @property
    def is_over(self) -> bool:
        """Whether a request may be sent now."""
        return time.monotonic() >= self._due

    def start(self, queue: RemoteQueue, error: Exception) -> None:
        """Log a lost connection, and delay all requests by a growing pause."""
        self._tries += 1
        pause = queue.connection.retries.delay(self._tries + 1)
        self._due = time.monotonic() + pause
        logger.warning("%s; trying again in %.0f s", error, pause)

    def reset(self) -> None:
        """Reset the pause to its shortest value, because a request has succeeded."""
        self._tries = 0


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
                # Another run may have given the same name as an `OptionalFile`.
                known[known.index(one)] = one

    def is_shared(self, job: Job[RemoteQueue]) -> bool:
        """Return whether several runs of this request share the job."""
        return sum(one.job == job for one in self.results) > 1


class ResultFetcher:
    """Fetches the results of jobs that have ended, and calls `on_fetch` afterwards."""

    def __init__(self, pause: Pause, on_fetch: Observer) -> None:
        self.pending: list[RunResult] = []
        """Results that have not been fetched yet."""
        self._pause = pause
        self._on_fetch = on_fetch
        # Results that must be fetched alone, because a joint fetch for several runs of
        # the same job has failed.
        self._alone: set[RunResult] = set()

    def fetch(self) -> None:
        """Fetch the results of jobs that have ended."""
        if not self.pending or not self._pause.is_over:
            return
        waiting, self.pending = self.pending, []
        for begin in range(0, len(waiting), GROUP):
            self._fetch_some(waiting[begin : begin + GROUP])

    def _fetch_some(self, waiting: Sequence[RunResult]) -> None:
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
            try:
                directory.mkdir(parents=True, exist_ok=True)
                fetched = queue.download_many(fetches.wanted, directory=directory)
            except (Error, OSError) as error:
                if is_temporary(error):
                    self._pause.start(queue, error)
                    self.pending += fetches.results
                else:
                    fail_unless_failed(fetches.results, error)
                    over += fetches.results
                continue
            self._pause.reset()
            over += self._record(fetches, fetched)
        if over:
            self._on_fetch(over)

    def _record(
        self, fetches: _Fetches, fetched: Mapping[str, Downloaded]
    ) -> list[RunResult]:
        """Store the outcomes of one request; return the results that are complete.

        If several runs share a job, and a file of one run is missing, the results of
        each run are fetched again alone, so that only that run gets the error.
        """
        over = []
        for result in fetches.results:
            assert result.job is not None
            outcome = fetched[result.job.id]
            if outcome.error is not None and fetches.is_shared(result.job):
                self._alone.add(result)
                self.pending.append(result)
                continue
            result.files = outcome.files
            if outcome.error is not None:
                fail_unless_failed([result], outcome.error)
            over.append(result)
        return over


def _patterns(result: RunResult) -> list[str]:
    """Return the names and patterns of the files to fetch.

    If the caller's function `results` raises an exception, the exception becomes the
    error of the job.
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
    """Return whether the error is a lost connection, so that a retry is useful."""
    return isinstance(error, ConnectionFailed) and not isinstance(
        error, AuthenticationFailed | HostKeyRejected
    )
