"""`run_many`: submit jobs to any number of queues, wait for them, fetch their results.

The adapter for Prefect uses the class `Batch` of this module.  Each `Run` has one
`RunResult`.  If a job fails, the error is stored in the `error` of its `RunResult`, and
the other jobs continue.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack

from tej.errors import (
    ConnectionFailed,
    Error,
    JobNotFound,
    WaitTimeout,
)
from tej.job.spec import JobSpec
from tej.job.status import JobStatus
from tej.queue.as_completed import ends_of
from tej.queue.fetch_results import Pause, ResultFetcher, is_temporary
from tej.queue.job import Job
from tej.queue.job_failure import job_failure
from tej.queue.remote import RemoteQueue
from tej.queue.run_result import (
    GROUP,
    Observer,
    Run,
    RunResult,
    Spec,
    fail,
    fail_unless_failed,
)
from tej.queue.submission import Outcome
from tej.queue.watcher import TICK, timed_out

FAILURES_WITH_STDERR = 5
"""Number of failed jobs whose error includes the end of their stderr.

The number is limited because each stderr costs a request."""


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
    """Submit or find the jobs, wait until all have ended, and fetch their results.

    Returns one `RunResult` per `Run`, in the same order.  Runs with the same signature
    share one job.  If a connection is lost, tej reconnects, and continues to wait and
    to fetch.  After `timeout` seconds, each job that has not ended gets a WaitTimeout
    as its error; the job itself continues to run.  The hooks `on_...` are documented in
    `Batch`.
    """
    return Batch(
        runs,
        on_submit=on_submit,
        on_start=on_start,
        on_tick=on_tick,
        on_end=on_end,
        on_fetch=on_fetch,
    ).run(timeout)


class Batch:
    """Several jobs, from their submission to their results.

    `run` calls `start`, and then `wait`.  The hooks are called in the thread that calls
    `run`.  If a hook raises an exception, `run` ends with that exception.  The hooks
    are:

    - `on_submit(results)`: called before a group of jobs is submitted to one queue;
    - `on_start(results)`: called after `on_submit`, when each job of the group has
      been submitted or found, or could not be submitted (see `RunResult.error`);
    - `on_tick()`: called about once a second while `wait` waits for jobs;
    - `on_end(results)`: called when jobs have ended, were deleted, or cannot be waited
      for;
    - `on_fetch(results)`: called when the results of jobs have been fetched, or will
      not be fetched.
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
        """The `RunResult` of each `Run`, in the same order."""
        self.pending: dict[Job[RemoteQueue], list[RunResult]] = {}
        """For each job that has not ended, the results of its runs."""
        self._on_submit = on_submit or _nothing
        self._on_start = on_start or _nothing
        self._on_tick = on_tick
        self._on_end = on_end or _nothing
        self._on_fetch = on_fetch or _nothing
        self._to_restart: list[RunResult] = []
        self._kill_requested = False
        self._pause = Pause()
        self._fetcher = ResultFetcher(self._pause, self._on_fetch)
        self._failures = 0

    def run(self, timeout: float | None = None) -> list[RunResult]:
        """Call `start`, then `wait`, and return the results."""
        self.start()
        return self.wait(timeout)

    def start(self) -> None:
        """Submit the jobs that do not exist yet, and find the jobs that exist."""
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
                    # If a group cannot be submitted to a queue, the remaining groups of
                    # that queue are not sent.
                    fail(some, failed)
                self._started(some)
        self._fetcher.fetch()

    def wait(self, timeout: float | None = None) -> list[RunResult]:
        """Wait until all jobs have ended, and fetch the results of ended jobs.

        `wait` may be called again after a timeout or an exception.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.pending or self._to_restart or self._fetcher.pending:
            if self.pending and not self._to_restart:
                by_queue = self._by_queue()
                for queue, job_id, end in ends_of(by_queue, deadline, self._tick):
                    self._ended(queue.job(job_id), end)
                    if self._to_restart:
                        break
            else:
                self._tick()
            self._restart()
            self._fetcher.fetch()
            if deadline is not None and time.monotonic() >= deadline:
                self._give_up(timeout or 0)
                break
            if self._to_restart or (self._fetcher.pending and not self.pending):
                time.sleep(TICK)
        return self.results

    def kill(self) -> None:
        """Kill the jobs that have not ended; `kill` may be called from any thread.

        No failed job is restarted afterwards.
        """
        self._kill_requested = True
        for queue, ids in self._by_queue().items():
            queue.kill_many(ids)

    def count_states(self) -> Counter[str]:
        """Return the number of "done" and "failed" jobs, and of other jobs by state.

        The states of the jobs that have not ended are requested with one round trip per
        queue.
        """
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
        # `list` makes a copy, because `kill` and `count_states` may be called from
        # other threads while `wait` changes the dictionary `pending`.
        for job in list(self.pending):
            found.setdefault(job.queue, []).append(job.id)
        return found

    def _tick(self) -> None:
        if self._on_tick is not None:
            self._on_tick()
        # The results are fetched at each tick, and not when each job ends, because one
        # request can then fetch the results of several jobs.
        self._fetcher.fetch()

    # Methods that submit jobs.

    def _submit(
        self, queue: RemoteQueue, group: Sequence[RunResult], *, retry: bool
    ) -> Error | None:
        """Submit one group of jobs; return an error if the queue cannot be used."""
        with ExitStack() as stack:
            specs: dict[RunResult, JobSpec] = {}
            for result in group:
                try:
                    specs[result] = _open(stack, result.run.spec)
                except Exception as error:
                    result.error = error
            again: dict[RunResult, JobSpec] = {}
            try:
                self._ensure(queue, specs, retry=retry)
                again = {
                    result: spec
                    for result, spec in specs.items()
                    if self._wants_restart(result)
                }
                self._ensure(queue, again, retry=True)
            except Error as error:
                # If a job failed earlier and will be restarted, the earlier failure is
                # not its result.
                for result in again:
                    if not self._kill_requested:
                        result.job = None
                fail([one for one in specs if one.job is None], error)
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
        """Sort submitted jobs into pending, ended, restarted and refused jobs."""
        self._on_start(group)
        over: list[RunResult] = []
        for result in group:
            if result.job is None or result.error is not None:
                over.append(result)
            elif result.job in self.pending:
                self.pending[result.job].append(result)
            elif result.status is not None and result.status.state.final:
                # The job may already have ended when the reply to its submission
                # arrived.
                if self._wants_restart(result):
                    self._to_restart.append(result)
                else:
                    self._finish([result], result.status)
            else:
                self.pending[result.job] = [result]
        if over:
            self._on_end(over)
            self._on_fetch(over)
        if self._kill_requested:
            # Another thread has called `kill` while these jobs were submitted.
            self.kill()

    # Methods that handle the ends of jobs.

    def _ended(self, job: Job[RemoteQueue], end: JobStatus | Exception | None) -> None:
        results = self.pending.pop(job)
        if isinstance(end, JobStatus):
            for result in results:
                result.status = end
                if isinstance(result.error, WaitTimeout):
                    # An earlier call of `wait` stored this WaitTimeout, and the job has
                    # ended since.
                    result.error = None
            if self._wants_restart(results[0]):
                self._to_restart += results
            else:
                self._finish(results, end)
            return
        fail(results, end or _deleted(job))
        self._on_end(results)
        self._on_fetch(results)

    def _finish(self, results: Sequence[RunResult], status: JobStatus) -> None:
        """Record the end of one job; schedule the fetch of its results if necessary."""
        if not status.succeeded:
            self._failures += 1
            job = results[0].job
            assert job is not None
            detailed = self._failures <= FAILURES_WITH_STDERR
            fail(
                results,
                job_failure(job.queue.connection, status, with_stderr=detailed),
            )
        self._on_end(results)
        over = []
        for result in results:
            if status.succeeded or result.run.fetch_failed:
                self._fetcher.pending.append(result)
            else:
                over.append(result)
        if over:
            self._on_fetch(over)

    def _wants_restart(self, result: RunResult) -> bool:
        retry, status = result.run.retry, result.status
        if self._kill_requested or isinstance(retry, bool):
            return False
        if status is None or result.error is not None:
            return False
        return status.state.final and not status.succeeded and retry(status)

    def _restart(self) -> None:
        """Restart failed jobs; if the connection is lost, try again later."""
        if self._kill_requested:
            self._finish_instead()
        if not self._to_restart or not self._pause.is_over:
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
            if error is not None and is_temporary(error):
                self._pause.start(queue, error)
                for result in group:
                    if result.error is error:
                        result.error = None
                self._to_restart += [one for one in group if one.job is None]
                group = [one for one in group if one.job is not None]
            self._started(group)

    def _finish_instead(self) -> None:
        """Record the failures of jobs that `kill` prevents from being restarted."""
        waiting, self._to_restart = self._to_restart, []
        ended: dict[Job[RemoteQueue], list[RunResult]] = {}
        for result in waiting:
            assert result.status is not None
            result.job = result.run.queue.job(result.status.job_id)
            ended.setdefault(result.job, []).append(result)
        for results in ended.values():
            assert results[0].status is not None
            self._finish(results, results[0].status)

    def _give_up(self, timeout: float) -> None:
        total = len(self.results)
        late = [one for same in self.pending.values() for one in same]
        late += self._to_restart
        ids = [one.job.id if one.job else "" for one in late]
        if late:
            fail(late, timed_out(timeout, ids, total))
            self._on_end(late)
        if self._fetcher.pending:
            missing, self._fetcher.pending = self._fetcher.pending, []
            fail_unless_failed(
                missing, ConnectionFailed("The results could not be fetched in time")
            )
            late += missing
        if late:
            self._on_fetch(late)


def _nothing(_: Sequence[RunResult]) -> None:
    """Do nothing; the default hook."""


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


def _deleted(job: Job[RemoteQueue]) -> JobNotFound:
    return JobNotFound(
        f"Job '{job.id}' was deleted before it ended, from {job.queue!r}"
    )
