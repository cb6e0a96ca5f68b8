"""`run_many`: submit jobs to any number of queues, wait for them, fetch their results.

A `Run` describes one job, and a `RunResult` contains its outcome.  If a job fails, the
error is stored in the `error` of its `RunResult`, and the other jobs continue.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing

from tej.errors import (
    ConnectionFailed,
    Error,
    JobFailed,
    JobNotFound,
    WaitTimeout,
)
from tej.job.status import JobStatus
from tej.queue.as_completed import ends_of
from tej.queue.batch_submission import BatchSubmission
from tej.queue.fetch_results import Pauses, ResultFetcher
from tej.queue.job import Job
from tej.queue.job_failure import FAILURES_WITH_STDERR, job_failure
from tej.queue.remote import RemoteQueue
from tej.queue.run_result import (
    Observer,
    Run,
    RunResult,
    fail,
    fail_unless_failed,
)
from tej.queue.tick import TICK
from tej.queue.wait_timeout import wait_timeout


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
    """A group of jobs: submits the jobs, waits for them, and fetches their results.

    `run` calls `start`, and then `wait`.  The hooks are called in the thread that calls
    `run`.  If a hook raises an exception, `run` ends with that exception.  The hooks
    are:

    - `on_submit(results)`: called before a group of jobs is submitted to one queue;
    - `on_start(results)`: called after `on_submit`, when each job of the group has
      been submitted or found, or could not be submitted (see `RunResult.error`);
    - `on_tick()`: called about once a second while `wait` waits for jobs, or for a
      server that cannot be reached;
    - `on_end(results)`: called when jobs have ended, were deleted, or cannot be waited
      for;
    - `on_fetch(results)`: called when the results of jobs have been fetched, or will
      not be fetched.

    If `start` cannot reach a server that has replied before, `patient` decides what
    happens to the jobs for that server.  If `patient` is true, `wait` submits these
    jobs again until the server replies.  If `patient` is false, each of these jobs gets
    a ConnectionFailed as its error.
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
        patient: bool = False,
    ) -> None:
        self.results = [RunResult(run) for run in runs]
        """The `RunResult` of each `Run`, in the same order."""
        self.pending: dict[Job[RemoteQueue], list[RunResult]] = {}
        """For each job that has not ended, the `RunResult` of each run of the job."""
        self._on_start = on_start or _nothing
        self._on_tick = on_tick
        self._on_end = on_end or _nothing
        self._on_fetch = on_fetch or _nothing
        self._patient = patient
        self._kill_requested = False
        pauses = Pauses()
        self._submission = BatchSubmission(
            pauses, on_submit or _nothing, self._wants_restart
        )
        self._fetcher = ResultFetcher(pauses, self._on_fetch)
        self._failures = 0

    def run(self, timeout: float | None = None) -> list[RunResult]:
        """Call `start`, then `wait`, and return the results."""
        self.start()
        return self.wait(timeout)

    def start(self) -> None:
        """Submit the jobs that do not exist yet, and find the jobs that exist."""
        for result in self.results:
            self._submission.pending[result] = result.run.retry is True
        self._submit(self.results, patient=self._patient)
        self._fetcher.fetch()

    def wait(self, timeout: float | None = None) -> list[RunResult]:
        """Wait until all jobs have ended, and fetch the results of ended jobs.

        `wait` may be called again after a timeout or an exception.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.pending or self._submission.pending or self._fetcher.pending:
            if self.pending and not self._submission.ready():
                self._wait_for_ends(deadline)
            else:
                self._tick()
            if self._kill_requested:
                self._finish_without_submission()
            self._submit(self._submission.ready(), patient=True)
            self._fetcher.fetch()
            if deadline is not None and time.monotonic() >= deadline:
                self._give_up(timeout or 0)
                break
            if not self.pending and (self._submission.pending or self._fetcher.pending):
                time.sleep(TICK)
        return self.results

    def kill(self) -> None:
        """Kill the jobs that have not ended; `kill` may be called from any thread.

        No failed job is restarted afterwards.
        """
        self._kill_requested = True
        errors: list[Error] = []
        for queue, ids in self._by_queue().items():
            try:
                queue.kill_many(ids)
            except Error as error:
                # Continue with the jobs of the other queues.
                errors.append(error)
        if errors:
            raise errors[0]

    def count_states(self) -> Counter[str]:
        """Return the number of runs for each key: "done", "failed", or a job's state.

        Succeeded runs count as "done", and runs with an error as "failed".  If a run's
        job has not ended, the key is the job's state, such as "running".  The states
        are requested with one round trip per queue.
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

    def _wait_for_ends(self, deadline: float | None) -> None:
        """Handle the ends of jobs until `deadline`, or until a job can be submitted."""
        times = [one for one in (deadline, self._submission.due) if one is not None]
        until = min(times, default=None)
        with closing(ends_of(self._by_queue(), until, self._tick)) as ends:
            for queue, job_id, end in ends:
                self._ended(queue.job(job_id), end)
                if self._submission.ready():
                    return

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
        # Fetch at each tick, and not when each job ends, so that one request fetches
        # the results of several jobs.
        self._fetcher.fetch()

    def _submit(self, results: Sequence[RunResult], *, patient: bool) -> None:
        for group in self._submission.submit(results, patient=patient):
            self._started(group)

    def _started(self, group: Sequence[RunResult]) -> None:
        """Call the hooks for submitted jobs, and sort the jobs by what has happened.

        A job is still pending, has ended, was refused, or must be restarted.
        """
        if not group:
            return
        self._on_start(group)
        unsubmitted = self._submission.pending
        over: list[RunResult] = []
        for result in group:
            if result.job is None or result.error is not None:
                over.append(result)
            elif result.job in self.pending:
                self.pending[result.job].append(result)
                del unsubmitted[result]
            elif result.status is not None and result.status.state.final:
                # The job existed before, or ended before the reply to its submission
                # arrived.
                if self._wants_restart(result):
                    unsubmitted[result] = True
                else:
                    self._record_failure([result], result.status)
                    del unsubmitted[result]
                    self._finish([result], result.status)
            else:
                self.pending[result.job] = [result]
                del unsubmitted[result]
        for result in over:
            del unsubmitted[result]
        if over:
            self._on_end(over)
            self._on_fetch(over)
        if self._kill_requested:
            # Another thread called `kill` while these jobs were submitted.  That call
            # did not kill these jobs, because `pending` did not contain them yet.
            self.kill()

    # Methods that handle the ends of jobs.

    def _ended(self, job: Job[RemoteQueue], end: JobStatus | Exception | None) -> None:
        results = self.pending[job]
        if isinstance(end, JobStatus):
            for result in results:
                result.status = end
                if isinstance(result.error, WaitTimeout):
                    # An earlier call to `wait` stored this WaitTimeout, and the job has
                    # ended since.
                    result.error = None
            if self._wants_restart(results[0]):
                self._submission.pending.update(dict.fromkeys(results, True))
                del self.pending[job]
            else:
                # Keep the job in `pending` during the request for its stderr.  If
                # Ctrl-C interrupts this request, the next call to `wait` then handles
                # the end of the job again.
                self._record_failure(results, end)
                del self.pending[job]
                self._finish(results, end)
            return
        del self.pending[job]
        fail(results, end or _deleted(job))
        self._on_end(results)
        self._on_fetch(results)

    def _record_failure(self, results: Sequence[RunResult], status: JobStatus) -> None:
        if status.succeeded:
            return
        job = results[0].job
        assert job is not None
        self._failures += 1
        detailed = self._failures <= FAILURES_WITH_STDERR
        fail(results, job_failure(job.queue.connection, status, with_stderr=detailed))

    def _finish(self, results: Sequence[RunResult], status: JobStatus) -> None:
        """Call `on_end` for an ended job, and schedule the fetch of its results.

        The results of a failed job are fetched only if `Run.fetch_failed` is true.
        """
        fetched = [one for one in results if status.succeeded or one.run.fetch_failed]
        self._fetcher.pending += fetched
        self._on_end(results)
        over = [one for one in results if one not in fetched]
        if over:
            self._on_fetch(over)

    def _wants_restart(self, result: RunResult) -> bool:
        retry, status = result.run.retry, result.status
        if self._kill_requested or isinstance(retry, bool):
            return False
        if status is None or result.error is not None:
            return False
        return status.state.final and not status.succeeded and retry(status)

    def _finish_without_submission(self) -> None:
        """Finish the jobs that are not submitted or restarted because of `kill`."""
        waiting = [*self._submission.pending]
        self._submission.pending.clear()
        ended: dict[Job[RemoteQueue], list[RunResult]] = {}
        for result in waiting:
            if result.status is None:
                result.error = JobFailed(
                    "The job was not started, because the jobs of its batch were killed"
                )
                if result in self._submission.in_doubt:
                    result.error = Error(
                        "It is unknown whether the job was started: its submission was "
                        "interrupted, and the jobs of its batch were killed meanwhile"
                    )
                self._on_end([result])
                self._on_fetch([result])
                continue
            result.job = result.run.queue.job(result.status.job_id)
            ended.setdefault(result.job, []).append(result)
        for results in ended.values():
            status = results[0].status
            assert status is not None
            self._record_failure(results, status)
            self._finish(results, status)

    def _give_up(self, timeout: float) -> None:
        total = len(self.results)
        late = [one for same in self.pending.values() for one in same]
        if late:
            ids = [one.job.id for one in late if one.job]
            fail(late, wait_timeout(timeout, ids, total))
        for result in self._submission.pending:
            result.error = WaitTimeout(
                f"The server has not confirmed within {timeout:g} seconds that it has "
                "received the job"
            )
            late.append(result)
        if late:
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


def _deleted(job: Job[RemoteQueue]) -> JobNotFound:
    return JobNotFound(f"Job '{job.id}' was deleted from {job.queue!r} before it ended")
