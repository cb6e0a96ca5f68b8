"""What becomes of jobs when the one who waits for them is stopped.

A cancelled flow run's jobs are killed, those of a process that was merely interrupted
or ended go on: its next attempt finds them.
"""

from __future__ import annotations

import signal
import threading
from types import TracebackType
from typing import TYPE_CHECKING

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import Abort, MissingContextError, TerminationSignal
from prefect.logging import get_logger, get_run_logger
from prefect.states import Cancelled

import tej
from tej_prefect.context import Run, current_run
from tej_prefect.flow_runs import ask, cancelled_here, flow_runs
from tej_prefect.owners import wanted_by_others

if TYPE_CHECKING:
    from logging import Logger, LoggerAdapter

    from tej_prefect.destination import TejDestination
    from tej_prefect.job import OnCancel
    from tej_prefect.job_run import TejJobRun

UNENDED = ("created", "queued", "running")


class FlowRunCancelled(Abort):
    """The flow run was cancelled while it waited for a job.

    Prefect ends the run where this is raised, and leaves its state as it is.
    """


class Custody:
    """The jobs that a task or a flow is responsible for while it is in this block.

        with Custody() as custody:
            custody.add(run)
            ...
            custody.check()     # now and then, while waiting

    Of the exceptions that leave it only those are looked at that are no `Exception`:
    signals, a cancelled task, Ctrl-C.  They may mean that the flow run was cancelled.
    Then each job is killed or left, as its handle's `on_cancel` says.
    """

    def __init__(self, stop: threading.Event | None = None) -> None:
        self.run: Run = current_run()
        self.submitting: TejDestination | None = None
        """Where jobs may have been started that were not added yet, and that are not
        to be left."""
        self._stop = stop
        self._runs: dict[str, dict[str, TejJobRun]] = {}
        self.logger = run_logger()

    def add(self, run: TejJobRun) -> None:
        """Take care of one more."""
        runs = self._runs.setdefault(run.destination.place, {})
        known = runs.get(run.job_id)
        # Of two that ask for the same job, one may want it left.
        if known is None or known.on_cancel == "kill":
            runs[run.job_id] = run

    def remove(self, run: TejJobRun) -> None:
        """It has ended."""
        self._runs.get(run.destination.place, {}).pop(run.job_id, None)

    def check(self) -> None:
        """Raise FlowRunCancelled if the flow run was cancelled, and TerminationSignal
        if this thread is to end."""
        flow_run_id = self.run.flow_run_id
        if flow_run_id is not None and flow_runs.is_cancelled(flow_run_id):
            raise FlowRunCancelled("The flow run was cancelled")
        if self.run.is_ending or (self._stop is not None and self._stop.is_set()):
            raise TerminationSignal(signal.SIGTERM)

    def __enter__(self) -> Custody:
        if self.run.flow_run_id is not None:
            flow_runs.watch(self.run.flow_run_id)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        flow_run_id = self.run.flow_run_id
        if flow_run_id is not None:
            flow_runs.unwatch(flow_run_id)
        if error is None or isinstance(error, Exception):
            return
        cancelled = isinstance(error, FlowRunCancelled)
        if cancelled or (flow_run_id is not None and ask(flow_run_id)):
            self._end_jobs()
            if cancelled:
                self._end_runs()
        else:
            self._say_that_they_go_on()

    def _end_jobs(self) -> None:
        self._say_that_they_go_on("leave")
        for place in self._runs:
            runs = self._with(place, "kill")
            if not runs:
                continue
            queue = next(iter(runs.values())).destination.get_client()
            try:
                self._kill(queue, place, [*runs])
            except tej.Error as error:
                self.logger.warning(
                    "Jobs at %s could not be killed, and go on: %s (%s)",
                    place,
                    error,
                    ", ".join(runs),
                )
        self._kill_unknown()

    def _kill(self, queue: tej.RemoteQueue, place: str, job_ids: list[str]) -> None:
        others = self._wanted_by_others(place, job_ids)
        for job_id, flow_run_id in others.items():
            self.logger.info(
                "Job %s goes on: flow run %s wants it", job_id, flow_run_id
            )
        ours = [job_id for job_id in job_ids if job_id not in others]
        for job_id, killed in queue.kill_many(ours).items():
            if killed is not None and not killed.was.final:
                self.logger.info("Job %s: %s", job_id, killed.status.describe())

    def _wanted_by_others(self, place: str, job_ids: list[str]) -> dict[str, object]:
        if self.run.flow_run_id is None:
            return {}
        try:
            return {**wanted_by_others(self.run.flow_run_id, place, job_ids)}
        except Exception as error:
            # To kill what others wait for is worse than to leave a job.
            self.logger.warning("Whether others want the jobs is not known: %s", error)
            return dict.fromkeys(job_ids, "unknown")

    def _kill_unknown(self) -> None:
        """Jobs that this run has started, the answer having come to nobody."""
        task_run_id = self.run.task_run_id
        if self.submitting is None or task_run_id is None:
            return
        labels = {"prefect-task-run": str(task_run_id)}
        try:
            queue = self.submitting.get_client()
            jobs = queue.jobs(states=UNENDED, labels=labels)
            # What becomes of those that were added is settled: some are left.
            added = self._runs.get(self.submitting.place, {})
            queue.kill_many(one.job_id for one in jobs if one.job_id not in added)
        except tej.QueueDoesntExist:
            return
        except tej.Error as error:
            self.logger.warning("Jobs labelled %s may go on: %s", labels, error)

    def _with(self, place: str, on_cancel: OnCancel | None) -> dict[str, TejJobRun]:
        """The jobs at a place, or those of which that is wanted."""
        runs = self._runs.get(place, {})
        return {
            job_id: run
            for job_id, run in runs.items()
            if on_cancel in (None, run.on_cancel)
        }

    def _say_that_they_go_on(self, on_cancel: OnCancel | None = None) -> None:
        for place in self._runs:
            if runs := self._with(place, on_cancel):
                self.logger.info(
                    "%d jobs go on at %s (%s); a new run finds them",
                    len(runs),
                    place,
                    ", ".join([*runs][:3]) + (", ..." if len(runs) > 3 else ""),
                )

    def _end_runs(self) -> None:
        """Prefect leaves a task run that is aborted as "Running", and a flow run that
        is no deployment's as "Cancelling": nobody else ends them."""
        left = sum(len(self._with(place, "leave")) for place in self._runs)
        jobs = f"{left} of its jobs go on" if left else "its jobs are killed"
        message = f"The flow run was cancelled; {jobs}"
        ended: State[None] = Cancelled(message=message)
        try:
            with get_client(sync_client=True) as client:
                if self.run.task_run_id is not None:
                    client.set_task_run_state(self.run.task_run_id, ended, force=True)
                if self.run.flow_run_id is not None:
                    for flow_run in cancelled_here(client, self.run.flow_run_id):
                        client.set_flow_run_state(flow_run.id, ended, force=True)
        except Exception as error:
            self.logger.warning("The run's state is not set: %s", error)


def run_logger() -> Logger | LoggerAdapter[Logger]:
    """The run's log, or without a run an ordinary one."""
    try:
        return get_run_logger()
    except MissingContextError:
        return get_logger("tej")
