"""Cancellation of a flow run: kill the jobs of its tasks, or leave them running.

The jobs of a cancelled flow run are killed, unless other flow runs have claimed the
same jobs.  If the process of a flow run crashes or is interrupted, its jobs continue to
run, and the next attempt of the flow run finds the jobs.  This module does not kill the
worker's job, which runs the flow itself: see `job_follower.py`.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import Abort, TerminationSignal
from prefect.states import Cancelled

import tej
from tej_prefect.cancellation_poller import poller
from tej_prefect.claims import (
    claims,
    suspended_jobs,
    unclaim_suspended,
    wanted_by_others,
)
from tej_prefect.context import (
    CANCELLED,
    Run,
    cancelled_ancestors,
    current_run,
    family,
    run_logger,
)
from tej_prefect.credentials import TejDestination
from tej_prefect.job_result import UNENDED_STATES, JobRecord, by_queue

LEAVE_LABEL = {"on-cancel": "leave"}
"""Label of jobs that a cancellation leaves running."""


class FlowRunCancelled(Abort):
    """The flow run was cancelled while it waited for a job.

    When a run raises this exception, Prefect ends the run without changing its state.
    """


@dataclass
class KillCounts:
    """Counts the jobs that a cancellation killed, left running or could not reach."""

    killed: int = 0
    left: int = 0
    unreachable: int = 0
    stopping: int = 0
    """Jobs that received a signal, but had not ended when the server replied."""
    reasons: dict[str, None] = field(default_factory=dict)
    """Reasons why jobs were left running."""
    is_complete: bool = True
    """Whether all destinations were reached, and all claims were checked."""

    def __str__(self) -> str:
        words = [f"{self.killed} jobs killed"]
        if self.stopping:
            words.append(f"{self.stopping} still stopping")
        if self.left:
            shown = "; ".join([*self.reasons][:3])
            words.append(f"{self.left} left running ({shown})")
        if self.unreachable:
            words.append(f"{self.unreachable} unreachable and possibly still running")
        return ", ".join(words)

    def miss(self, number: int) -> None:
        """Add `number` to the count of jobs whose destinations were not reached."""
        self.unreachable += number
        self.is_complete = False

    def leave(self, number: int, reason: str) -> None:
        """Add `number` to the count of jobs that are left running, with the reason."""
        self.left += number
        if number:
            self.reasons[reason] = None


def kill_unclaimed(
    queue: tej.RemoteQueue,
    job_ids: Iterable[str],
    cancelled: Collection[UUID],
    counts: KillCounts,
    *,
    suspended: UUID | None = None,
) -> None:
    """Kill the jobs, except the jobs that other flow runs use.

    A claim is a file that records which jobs a flow run uses.  The claims of the flow
    runs in `cancelled` are ignored.  If the other claims cannot be read, all jobs are
    left running.

    If `suspended` is the id of a flow run that was cancelled while it was suspended,
    only the jobs that this flow run has claimed are killed.  The claim of this flow run
    is then removed, so that no later worker kills a job that a user starts again.

    If the queue is missing, the jobs are counted as unreachable, because its file
    system may be unmounted while the jobs run.
    """
    logger = run_logger()
    ids = [*job_ids]
    try:
        known = {
            id_: one for id_, one in queue.statuses(ids).items() if one is not None
        }
        if not known:
            return
        stage = str(next(iter(known.values())).directory)
        if suspended is not None:
            claimed = suspended_jobs(queue, stage, suspended)
            if not claimed.intersection(ids):
                return
            known = {id_: one for id_, one in known.items() if id_ in claimed}
        running = [id_ for id_, one in known.items() if not one.state.final]
        if running:
            ours = _unclaimed(queue, stage, running, cancelled, counts)
            for job_id, killed in queue.kill_many(ours).items():
                if killed is not None and not killed.was.final:
                    logger.info("Job %s: %s", job_id, killed.status.describe())
                    counts.killed += killed.status.state.final
                    counts.stopping += not killed.status.state.final
        if suspended is not None and counts.is_complete:
            unclaim_suspended(queue, stage, suspended)
    except tej.Error as error:
        if suspended is not None and isinstance(error, tej.QueueNotFound):
            # The jobs are not counted, because they may have been removed with their
            # queue long ago.
            return
        logger.warning(
            "Jobs at %r could not be killed: %s (%s)", queue, error, ", ".join(ids)
        )
        counts.miss(len(ids))


def _unclaimed(
    queue: tej.RemoteQueue,
    stage: str,
    running: Collection[str],
    cancelled: Collection[UUID],
    counts: KillCounts,
) -> list[str]:
    """Return the jobs that no other flow run has claimed; count the other jobs."""
    logger = run_logger()
    try:
        others = wanted_by_others(queue, stage, cancelled)
    except tej.Error:
        raise
    except Exception as error:
        # Another flow run may have claimed the jobs, so no job is killed.
        logger.warning(
            "The claims on jobs could not be checked with Prefect's API: %s", error
        )
        counts.is_complete = False
        reason = "their claims could not be checked with Prefect's API"
        counts.leave(len(running), reason)
        return []
    for job_id in others.keys() & {*running}:
        logger.info("Job %s is left running: %s", job_id, others[job_id])
        counts.leave(1, f"claimed by {others[job_id]}")
    return [job_id for job_id in running if job_id not in others]


def kill_jobs(
    records: Iterable[JobRecord],
    cancelled: Collection[UUID],
    counts: KillCounts,
    *,
    leave: bool = True,
) -> None:
    """Kill the jobs that no flow run outside `cancelled` has claimed.

    Jobs whose `on_cancel` is "leave" are left running, unless `leave` is false.
    """
    jobs = {*records}
    kept = {one for one in jobs if leave and one.on_cancel == "leave"}
    counts.leave(len(kept), 'on_cancel="leave"')
    for queue, some in by_queue(jobs - kept).items():
        kill_unclaimed(queue, some, cancelled, counts)


class CancellationGuard:
    """Context manager that kills a run's jobs if the run is cancelled in the context.

        with CancellationGuard() as guard:
            guard.add({record: status})
            ...
            guard.check()     # while waiting, about once a second

    The guard acts only after a signal, a cancellation or Ctrl-C.  After an ordinary
    `Exception`, all jobs continue to run.  If Prefect's API reports that the flow run
    is cancelled, each job whose `on_cancel` is "kill" is killed, unless another flow
    run has claimed the job.
    """

    def __init__(self, stop: threading.Event | None = None) -> None:
        self.run: Run = current_run()
        self.logger = run_logger()
        self.submitting: TejDestination | None = None
        """Destination of a submission in progress.  Jobs may have started at this
        destination although its server has not yet replied with their ids."""
        self._stop = stop
        self._jobs: dict[tuple[str, str], JobRecord] = {}
        """The jobs that have not ended, by their place and id."""

    def add(self, jobs: Mapping[JobRecord, tej.JobStatus | None]) -> None:
        """Add jobs to kill after a cancellation, and claim them for the flow run."""
        for record in jobs:
            known = self._jobs.setdefault(_key(record), record)
            # If the same job was added with `on_cancel="kill"` and with
            # `on_cancel="leave"`, the job is left running.
            if known.on_cancel == "kill":
                self._jobs[_key(record)] = record
        if self.run.flow_run_id is None:
            return
        for queue, some in by_queue(jobs).items():
            statuses = [status for one in some.values() if (status := jobs[one])]
            if statuses:
                stage = str(statuses[0].directory)
                claims.add(self.run.flow_run_id, queue, stage, [*some])

    def remove(self, record: JobRecord) -> None:
        """Forget a job that has ended, so that a cancellation does not kill the job."""
        self._jobs.pop(_key(record), None)

    def kill(self, records: Iterable[JobRecord]) -> KillCounts:
        """Kill jobs of the run that no other flow run has claimed; return the counts.

        The `on_cancel` of the jobs is ignored.
        """
        counts = KillCounts()
        own = [] if self.run.flow_run_id is None else [self.run.flow_run_id]
        kill_jobs(records, own, counts, leave=False)
        return counts

    def check(self) -> None:
        """Raise FlowRunCancelled if the flow run was cancelled, and TerminationSignal
        if the calling thread must end."""
        flow_run_id = self.run.flow_run_id
        if flow_run_id is not None and poller.is_cancelled(flow_run_id):
            raise FlowRunCancelled("The flow run was cancelled")
        if any(one is not None and one.is_set() for one in (self.run.stop, self._stop)):
            raise TerminationSignal(signal.SIGTERM)

    def __enter__(self) -> CancellationGuard:
        if self.run.flow_run_id is not None:
            poller.watch(self.run.flow_run_id)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        flow_run_id = self.run.flow_run_id
        if flow_run_id is not None:
            poller.unwatch(flow_run_id)
        if error is None or isinstance(error, Exception):
            return
        # Prefect's API must be read, because SIGTERM is sent when the flow run is
        # cancelled and also when the machine shuts down.
        cancelled = [] if flow_run_id is None else cancelled_ancestors(flow_run_id)
        if isinstance(error, FlowRunCancelled) and flow_run_id and not cancelled:
            cancelled = [flow_run_id]
        if flow_run_id is None or not cancelled:
            if self._jobs:
                shown = [f"{job_id} at {place}" for place, job_id in self._jobs]
                self.logger.info(
                    "%d jobs continue to run, and the next run of the flow finds them: "
                    "%s",
                    len(shown),
                    ", ".join([*shown[:3], "..."] if len(shown) > 3 else shown),
                )
            return
        # Withdraw this flow run's claims before reading the claims of other flow runs.
        # If two flow runs are cancelled at the same time, at least one of the two then
        # finds no other claim and kills the jobs.
        claims.withdraw(flow_run_id)
        counts = self._kill_jobs(cancelled)
        self.logger.info("The flow run was cancelled: %s", counts)
        if isinstance(error, FlowRunCancelled):
            self._set_cancelled(counts)

    def _kill_jobs(self, cancelled: list[UUID]) -> KillCounts:
        counts = KillCounts()
        kill_jobs(self._jobs.values(), cancelled, counts)
        self._kill_unknown(cancelled, counts)
        return counts

    def _kill_unknown(self, cancelled: list[UUID], counts: KillCounts) -> None:
        """Kill the jobs whose ids are unknown because the submission was interrupted.

        The jobs are found by the label with the id of the task run.
        """
        task_run_id = self.run.task_run_id
        if self.submitting is None or task_run_id is None:
            return
        labels = {"prefect-task-run": str(task_run_id)}
        try:
            queue = self.submitting.get_client()
            jobs = queue.jobs(states=UNENDED_STATES, labels=labels)
        except tej.Error as error:
            if isinstance(error, tej.QueueNotFound):
                # The submission was interrupted before it created the queue.
                return
            self.logger.warning(
                "Jobs with the labels %s may continue to run: %s", labels, error
            )
            return
        place = self.submitting.place
        ids = [
            one.job_id
            for one in jobs
            if (place, one.job_id) not in self._jobs
            and not LEAVE_LABEL.items() <= one.labels.items()
        ]
        kill_unclaimed(queue, ids, cancelled, counts)

    def _set_cancelled(self, counts: KillCounts) -> None:
        """Set the task run and flow runs without a deployment to the state Cancelled.

        Prefect itself leaves an aborted task run in the state Running, and a cancelled
        flow run without a deployment in the state Cancelling.
        """
        ended: State[None] = Cancelled(message=f"The flow run was cancelled: {counts}")
        try:
            with get_client(sync_client=True) as client:
                if self.run.task_run_id is not None:
                    client.set_task_run_state(self.run.task_run_id, ended, force=True)
                if self.run.flow_run_id is not None:
                    for flow_run in _without_runner(client, self.run.flow_run_id):
                        client.set_flow_run_state(flow_run.id, ended, force=True)
        except Exception as error:
            self.logger.warning("The run could not be set to Cancelled: %s", error)


def _key(record: JobRecord) -> tuple[str, str]:
    return record.destination.place, record.job_id


def _without_runner(client: SyncPrefectClient, flow_run_id: UUID) -> list[FlowRun]:
    """Return the flow runs that this process must set to Cancelled, innermost first.

    The list is empty for a flow run of a deployment, because Prefect's runner sets the
    state of that flow run.
    """
    runs = family(client, flow_run_id)
    if any(run.deployment_id is not None for run in runs):
        return []
    while runs and runs[-1].state_type not in CANCELLED:
        runs.pop()
    return [run for run in runs if run.state is None or not run.state.is_final()]
