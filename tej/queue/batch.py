"""`run_many`: start jobs on any number of queues, wait for them, fetch their results.

The command line and the adapters for workflow engines share this loop.  Each job has
one `RunResult`; whatever goes wrong with a job is its `error`, and does not affect the
others.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from tej.errors import (
    AuthenticationFailed,
    ConnectionFailed,
    Error,
    HostKeyRejected,
    JobNotFound,
    WaitTimeout,
)
from tej.job.spec import JobSpec
from tej.job.status import JobStatus
from tej.queue.completed import ends_of
from tej.queue.logs import job_failure
from tej.queue.remote import Job, RemoteQueue
from tej.queue.submission import Outcome
from tej.queue.watcher import TICK, timed_out

GROUP = 100
"""Jobs that are prepared and submitted, or fetched, at a time."""

FAILURES_WITH_STDERR = 5
"""Failed jobs whose error includes the end of their stderr, one request for each."""

logger = logging.getLogger("tej")

Spec = JobSpec | Callable[[], AbstractContextManager[JobSpec]]
Retry = bool | Callable[[JobStatus], bool]


@dataclass(eq=False)
class Run:
    """A job for `run_many`: what to run, where, and which results to fetch."""

    queue: RemoteQueue
    spec: Spec
    """The work, or a function that returns a context manager with it.  Within that
    context the directory has to exist; it is left when the job has been submitted."""
    results: Sequence[str] | Callable[[JobStatus], Sequence[str]] = ()
    """Files and patterns to fetch, or a function of the final status."""
    directory: str | PathLike[str] = "."
    """Parent of the directory, named like the job, that the results are written to."""
    retry: Retry = False
    """Whether a job that failed, was killed or is lost is restarted, if it is found so.
    A function is also asked again each time the job fails during the wait."""
    fetch_failed: bool = False
    """Fetch the results of a job that did not succeed, too."""
    key: Any = None
    """Anything that the caller wants to find in the result."""


@dataclass(eq=False)
class RunResult:
    """The outcome of one `Run`, filled in step by step."""

    run: Run
    job: Job | None = None
    """None if the job could not be submitted."""
    is_new: bool = False
    """Whether this call has started the job."""
    status: JobStatus | None = None
    """The last known status; the final one if the job has ended."""
    files: list[Path] = field(default_factory=list)
    """Results written on this machine."""
    error: Exception | None = None
    """The reason why the job was not started, did not succeed (JobFailed), was deleted
    (JobNotFound), did not end in time (WaitTimeout), or could not be fetched.  An error
    that is not a tej.Error was raised by the function `spec` or `results`."""

    @property
    def succeeded(self) -> bool:
        """Whether the job has succeeded and its results are here."""
        return self.error is None and self.status is not None and self.status.succeeded


Observer = Callable[[Sequence[RunResult]], object]


def run_many(
    runs: Iterable[Run],
    *,
    timeout: float | None = None,
    on_submit: Observer | None = None,
    on_start: Observer | None = None,
    on_tick: Callable[[], object] | None = None,
    on_end: Observer | None = None,
    on_fetch: Observer | None = None,
) -> list[RunResult]:
    """Start the jobs, or find them; wait until all have ended; fetch their results.

    Returns one result per run, in order.  Equal work is one job.  Survives lost
    connections while it waits and fetches.  After `timeout` seconds the jobs that have
    not ended get a WaitTimeout, and continue to run.  See `Batch` for the hooks.
    """
    return Batch(
        runs,
        on_submit=on_submit,
        on_start=on_start,
        on_tick=on_tick,
        on_end=on_end,
        on_fetch=on_fetch,
    ).run(timeout)


class _Fetches:
    """Results to fetch from one queue to one directory."""

    def __init__(self) -> None:
        self.results: list[RunResult] = []
        self.wanted: dict[str, list[str]] = {}
        """Patterns by job id: those of all runs of the same job."""

    def add(self, result: RunResult, patterns: Iterable[str]) -> None:
        assert result.job is not None
        self.results.append(result)
        known = self.wanted.setdefault(result.job.id, [])
        known += [one for one in patterns if one not in known]


class Batch:
    """Several jobs from submission to results; `run` does all, in three steps.

    The hooks are called in the thread of `run`, and end it if they raise:

    - `on_submit(results)` before a group of jobs of one queue is submitted;
    - `on_start(results)` when their jobs exist, or cannot be submitted (`error`);
    - `on_tick()` about once a second while waiting;
    - `on_end(results)` when jobs have ended, were deleted or cannot be awaited;
    - `on_fetch(results)` when nothing more will happen to them.
    """

    def __init__(
        self,
        runs: Iterable[Run],
        *,
        on_submit: Observer | None = None,
        on_start: Observer | None = None,
        on_tick: Callable[[], object] | None = None,
        on_end: Observer | None = None,
        on_fetch: Observer | None = None,
    ) -> None:
        self.results = [RunResult(run) for run in runs]
        """One for each run, in order."""
        self.pending: dict[Job, list[RunResult]] = {}
        """Jobs that have not ended, with the results of equal work."""
        self._on_submit = on_submit or _nothing
        self._on_start = on_start or _nothing
        self._on_tick = on_tick
        self._on_end = on_end or _nothing
        self._on_fetch = on_fetch or _nothing
        self._to_restart: list[RunResult] = []
        self._to_fetch: list[RunResult] = []
        self._failures = 0
        self._tries = 0
        self._due = 0.0

    def run(self, timeout: float | None = None) -> list[RunResult]:
        """`start` and `wait`."""
        self.start()
        return self.wait(timeout)

    def start(self) -> None:
        """Submit the jobs that do not exist, and find the others."""
        groups: dict[tuple[RemoteQueue, bool], list[RunResult]] = {}
        for result in self.results:
            key = (result.run.queue, result.run.retry is True)
            groups.setdefault(key, []).append(result)
        for (queue, retry), group in groups.items():
            failed: Error | None = None
            for begin in range(0, len(group), GROUP):
                some = group[begin : begin + GROUP]
                self._on_submit(some)
                if failed is None:
                    failed = self._submit(queue, some, retry=retry)
                else:
                    # A server that cannot be used is not tried for each group.
                    _fail(some, failed)
                self._started(some)
        self._fetch()

    def wait(self, timeout: float | None = None) -> list[RunResult]:
        """Wait until all jobs have ended, and fetch their results as they end.

        May be called again after a timeout or an exception.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.pending or self._to_restart or self._to_fetch:
            if self.pending and not self._to_restart:
                by_queue = self._by_queue()
                for queue, job_id, end in ends_of(by_queue, deadline, self._tick):
                    self._ended(queue.job(job_id), end)
                    if self._to_restart:
                        break
            else:
                self._tick()
            self._restart()
            self._fetch()
            if deadline is not None and time.monotonic() >= deadline:
                self._give_up(timeout or 0)
                break
            if self._to_restart or (self._to_fetch and not self.pending):
                time.sleep(TICK)
        return self.results

    def kill(self) -> None:
        """Kill the pending jobs; safe to call from another thread."""
        for queue, ids in self._by_queue().items():
            queue.kill_many(ids)

    def count_states(self) -> Counter[str]:
        """Number of jobs by state, "done" and "failed"; one round trip per queue."""
        counts = Counter(
            "done" if one.succeeded else "failed"
            for one in self.results
            if one.succeeded or one.error is not None
        )
        for queue, ids in self._by_queue().items():
            found = queue.statuses(ids).values()
            counts.update(str(one.state) for one in found if one is not None)
        return counts

    def _by_queue(self) -> dict[RemoteQueue, list[str]]:
        found: dict[RemoteQueue, list[str]] = {}
        # A copy: `kill` and `count_states` may run in other threads.
        for job in list(self.pending):
            found.setdefault(job.queue, []).append(job.id)
        return found

    def _tick(self) -> None:
        if self._on_tick is not None:
            self._on_tick()
        # Results are fetched during a long wait, too, but several at a time.
        self._fetch()

    # Submission.

    def _submit(
        self, queue: RemoteQueue, group: Sequence[RunResult], *, retry: bool
    ) -> Error | None:
        """Submit one group; returns the error of a queue that cannot be used."""
        with ExitStack() as stack:
            specs: dict[RunResult, JobSpec] = {}
            for result in group:
                try:
                    specs[result] = _open(stack, result.run.spec)
                except Exception as error:
                    result.error = error
            try:
                self._ensure(queue, specs, retry=retry)
                again = {
                    result: spec
                    for result, spec in specs.items()
                    if _wants_restart(result)
                }
                self._ensure(queue, again, retry=True)
            except Error as error:
                _fail([one for one in specs if one.job is None], error)
                return error
        return None

    @staticmethod
    def _ensure(
        queue: RemoteQueue, specs: Mapping[RunResult, JobSpec], *, retry: bool
    ) -> None:
        if not specs:
            return
        outcomes = queue.ensure_many(specs.values(), retry=retry)
        for result, outcome in zip(specs, outcomes, strict=True):
            _apply(result, queue, outcome)

    def _started(self, group: Sequence[RunResult]) -> None:
        """Sort submitted jobs into those to await, to fetch, and the others."""
        self._on_start(group)
        over: list[RunResult] = []
        for result in group:
            if result.job is None or result.error is not None:
                over.append(result)
            elif result.job in self.pending:
                self.pending[result.job].append(result)
            elif result.status is not None and result.status.state.final:
                self._finish([result], result.status)
            else:
                self.pending[result.job] = [result]
        if over:
            self._on_end(over)
            self._on_fetch(over)

    # Ends.

    def _ended(self, job: Job, end: JobStatus | Exception | None) -> None:
        results = self.pending.pop(job)
        if isinstance(end, JobStatus):
            for result in results:
                result.status = end
                if isinstance(result.error, WaitTimeout):
                    # Of an earlier call of `wait`.
                    result.error = None
            if _wants_restart(results[0]):
                self._to_restart += results
            else:
                self._finish(results, end)
            return
        _fail(results, end or _deleted(job))
        self._on_end(results)
        self._on_fetch(results)

    def _finish(self, results: Sequence[RunResult], status: JobStatus) -> None:
        """Note the end of one job, and what is to be fetched from it."""
        if not status.succeeded:
            self._failures += 1
            job = results[0].job
            assert job is not None
            detailed = self._failures <= FAILURES_WITH_STDERR
            _fail(
                results,
                job_failure(job.queue.connection, status, with_stderr=detailed),
            )
        self._on_end(results)
        over = []
        for result in results:
            if status.succeeded or result.run.fetch_failed:
                self._to_fetch.append(result)
            else:
                over.append(result)
        if over:
            self._on_fetch(over)

    def _restart(self) -> None:
        """Restart failed jobs; after a lost connection they stay to be restarted."""
        if not self._to_restart or time.monotonic() < self._due:
            return
        waiting, self._to_restart = self._to_restart, []
        groups: dict[RemoteQueue, list[RunResult]] = {}
        for result in waiting:
            groups.setdefault(result.run.queue, []).append(result)
        for queue, group in groups.items():
            for result in group:
                result.job = None
            self._on_submit(group)
            error = self._submit(queue, group, retry=True)
            if error is not None and _is_temporary(error):
                self._postpone(queue, error)
                for result in group:
                    if result.error is error:
                        result.error = None
                self._to_restart += [one for one in group if one.job is None]
                group = [one for one in group if one.job is not None]
            self._started(group)

    # Results.

    def _fetch(self) -> None:
        """Fetch results of ended jobs, in one round trip per queue and directory."""
        if not self._to_fetch or time.monotonic() < self._due:
            return
        waiting, self._to_fetch = self._to_fetch, []
        for begin in range(0, len(waiting), GROUP):
            self._fetch_some(waiting[begin : begin + GROUP])

    def _fetch_some(self, waiting: Sequence[RunResult]) -> None:
        groups: dict[tuple[RemoteQueue, Path], _Fetches] = {}
        over: list[RunResult] = []
        for result in waiting:
            patterns = _patterns(result)
            if not patterns:
                over.append(result)
                continue
            key = (result.run.queue, Path(result.run.directory))
            groups.setdefault(key, _Fetches()).add(result, patterns)
        for (queue, directory), fetches in groups.items():
            try:
                directory.mkdir(parents=True, exist_ok=True)
                fetched = queue.download_many(fetches.wanted, directory=directory)
            except (Error, OSError) as error:
                if _is_temporary(error):
                    self._postpone(queue, error)
                    self._to_fetch += fetches.results
                else:
                    _fail_unless_failed(fetches.results, error)
                    over += fetches.results
                continue
            self._tries = 0
            for result in fetches.results:
                assert result.job is not None
                outcome = fetched[result.job.id]
                result.files = outcome.files
                if outcome.error is not None:
                    _fail_unless_failed([result], outcome.error)
                over.append(result)
        if over:
            self._on_fetch(over)

    def _postpone(self, queue: RemoteQueue, error: Exception) -> None:
        """Log a lost connection, and pause requests longer each time."""
        self._tries += 1
        retries = queue.connection.retries
        pause = min(retries.longest, retries.first * 2**self._tries)
        self._due = time.monotonic() + pause
        logger.warning("%s; trying again in %.0f s", error, pause)

    def _give_up(self, timeout: float) -> None:
        total = len(self.results)
        late = [one for same in self.pending.values() for one in same]
        late += self._to_restart
        ids = [one.job.id if one.job else "" for one in late]
        if late:
            _fail(late, timed_out(timeout, ids, total))
            self._on_end(late)
        if self._to_fetch:
            missing, self._to_fetch = self._to_fetch, []
            _fail_unless_failed(
                missing, ConnectionFailed("The results could not be fetched in time")
            )
            late += missing
        if late:
            self._on_fetch(late)


def _nothing(_: Sequence[RunResult]) -> None:
    """No hook."""


def _open(stack: ExitStack, spec: Spec) -> JobSpec:
    return spec if isinstance(spec, JobSpec) else stack.enter_context(spec())


def _apply(result: RunResult, queue: RemoteQueue, outcome: Outcome) -> None:
    if outcome.error is not None:
        result.error = outcome.error
        return
    result.error = None
    result.status = outcome.status
    result.is_new = outcome.is_new
    result.job = Job(
        queue, outcome.job_id, is_new=outcome.is_new, status_then=outcome.status
    )


def _wants_restart(result: RunResult) -> bool:
    retry, status = result.run.retry, result.status
    if isinstance(retry, bool) or status is None or result.error is not None:
        return False
    return status.state.final and not status.succeeded and retry(status)


def _patterns(result: RunResult) -> list[str]:
    """The files to fetch; an exception of the caller's function is the job's error."""
    wanted = result.run.results
    if not callable(wanted):
        return [*wanted]
    assert result.status is not None
    try:
        return [*wanted(result.status)]
    except Exception as error:
        _fail_unless_failed([result], error)
        return []


def _fail(results: Iterable[RunResult], error: Exception) -> None:
    for result in results:
        result.error = error


def _fail_unless_failed(results: Iterable[RunResult], error: Exception) -> None:
    """The first error of a job is the one that matters."""
    _fail([one for one in results if one.error is None], error)


def _is_temporary(error: Exception) -> bool:
    return isinstance(error, ConnectionFailed) and not isinstance(
        error, AuthenticationFailed | HostKeyRejected
    )


def _deleted(job: Job) -> JobNotFound:
    return JobNotFound(
        f"Job '{job.id}' was deleted before it ended, from {job.queue!r}"
    )
