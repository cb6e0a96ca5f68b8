"""Submission of the jobs of a `Batch`, in groups, with restarts of failed jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack

from tej.errors import Error
from tej.job.spec import JobSpec
from tej.queue.fetch_results import Pauses
from tej.queue.job import Job
from tej.queue.remote import RemoteQueue
from tej.queue.request_size import JOBS_PER_REQUEST
from tej.queue.run_result import Observer, RunResult, Spec, fail
from tej.queue.submission import Outcome


class BatchSubmission:
    """Submits and restarts jobs; keeps the jobs for unreachable servers for later.

    `on_submit` is called before each group of jobs is submitted.  `wants_restart`
    returns whether to restart a job that exists in the queue and has failed.
    """

    def __init__(
        self,
        pauses: Pauses,
        on_submit: Observer,
        wants_restart: Callable[[RunResult], bool],
    ) -> None:
        self.pending: dict[RunResult, bool] = {}
        """The jobs to submit; the value is true if the job must be restarted in case it
        exists and has failed.

        The caller removes each job that `submit` has yielded from this dictionary.
        After an exception, such as KeyboardInterrupt, the remaining jobs are submitted
        again; a job that was started before is then found, and not started again."""
        self.in_doubt: set[RunResult] = set()
        """The pending jobs that may have been started, because their submission was
        interrupted."""
        self._pauses = pauses
        self._on_submit = on_submit
        self._wants_restart = wants_restart

    @property
    def due(self) -> float | None:
        """Earliest time (`time.monotonic`) at which a pending job can be submitted;
        None if no job is pending."""
        ends = [self._pauses.end(one.run.queue) for one in self.pending]
        return min(ends, default=None)

    def ready(self) -> list[RunResult]:
        """Return the pending jobs that can be submitted now; see `Pauses`."""
        return [one for one in self.pending if self._pauses.is_over(one.run.queue)]

    def submit(
        self, results: Sequence[RunResult], *, patient: bool
    ) -> Iterator[list[RunResult]]:
        """Submit or restart pending jobs; yield each group after its submission.

        If `patient` is true and the connection is lost, the jobs of the group are not
        yielded, and stay in `pending` for a later call.
        """
        groups: dict[tuple[RemoteQueue, bool], list[RunResult]] = {}
        for result in results:
            key = (result.run.queue, self.pending[result])
            groups.setdefault(key, []).append(result)
        for (queue, retry), jobs in groups.items():
            failed: Error | None = None
            may_retry = False
            for begin in range(0, len(jobs), JOBS_PER_REQUEST):
                group = jobs[begin : begin + JOBS_PER_REQUEST]
                for result in group:
                    result.job = None
                self._on_submit(group)
                if failed is None:
                    self.in_doubt.update(group)
                    failed = self._submit(queue, group, retry=retry)
                    if failed is not None and patient and queue.was_reached:
                        may_retry = self._pauses.start(queue, failed)
                else:
                    # If a group cannot be submitted to a queue, the remaining groups of
                    # that queue are not sent.
                    fail(group, failed)
                kept: set[RunResult] = set()
                if failed is None:
                    self._pauses.reset(queue)
                elif may_retry:
                    kept = self._keep_for_later(group, failed)
                self.in_doubt.difference_update(set(group) - kept)
                yield [one for one in group if one not in kept]

    def _keep_for_later(self, group: Sequence[RunResult], cut: Error) -> set[RunResult]:
        """Prepare the jobs that have the error `cut` for their next submission.

        Returns these jobs.
        """
        kept = {one for one in group if one.error is cut}
        for result in kept:
            result.error = None
            # The server may have restarted the job before the connection was lost.  If
            # that attempt has failed, `wants_restart` must be called again.
            self.pending[result] = result.run.retry is True
        return kept

    def _submit(
        self, queue: RemoteQueue, group: Sequence[RunResult], *, retry: bool
    ) -> Error | None:
        """Submit one group of jobs; return the error if the request fails."""
        with ExitStack() as stack:
            specs: dict[RunResult, JobSpec] = {}
            for result in group:
                try:
                    specs[result] = _open(stack, result.run.spec)
                except Exception as error:
                    result.error = error
            again: dict[RunResult, JobSpec] = {}
            try:
                _ensure(queue, specs, retry=retry)
                again = {
                    result: spec
                    for result, spec in specs.items()
                    if self._wants_restart(result)
                }
                _ensure(queue, again, retry=True)
            except Error as error:
                # The jobs in `again` have failed before.  A job that will be restarted
                # gets the new error.  After `Batch.kill`, no job will be restarted, and
                # each job keeps its earlier failure.
                for result in again:
                    if self._wants_restart(result):
                        result.job = None
                fail([one for one in specs if one.job is None], error)
                return error
        return None


def _ensure(
    queue: RemoteQueue, specs: Mapping[RunResult, JobSpec], *, retry: bool
) -> None:
    if not specs:
        return
    outcomes = queue.ensure_many(specs.values(), retry=retry)
    for result, outcome in zip(specs, outcomes, strict=True):
        _apply(result, queue, outcome)


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


def _open(stack: ExitStack, spec: Spec) -> JobSpec:
    return spec if isinstance(spec, JobSpec) else stack.enter_context(spec())
