"""Job follower: waits until a flow run's job has ended, and reports the end to Prefect.

If the flow run is cancelled, the job follower kills the job, and sets the state of the
flow run from Cancelling to Cancelled after the end of the job.  The worker follows the
jobs that it has submitted, and the jobs of workers that died.  The follower sends one
request, and the server replies when the job has ended (`commands/wait`).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

import httpx
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound
from prefect.workers.base import BaseWorker

import tej
from tej_prefect.cancellation_poller import poller
from tej_prefect.context import CANCELLED, in_thread
from tej_prefect.credentials import TejDestination
from tej_prefect.events import emit_end
from tej_prefect.job_result import PENDING, JobRecord
from tej_prefect.output_log import JobOutput, last_lines
from tej_prefect.worker_configuration import (
    STARTED_TWICE,
    STARTED_TWICE_MESSAGE,
    TejWorkerConfiguration,
)
from tej_prefect.worker_job import (
    CANCEL_GRACE,
    RETRY,
    is_superseded,
    needs_process,
    related_to,
)

if TYPE_CHECKING:
    from prefect.logging.loggers import PrefectLogAdapter

MISSING_TIMEOUT = 600.0
"""Seconds after which the job of a missing queue is considered deleted."""


class JobFollower:
    """Follows one job of a flow run for a worker."""

    def __init__(
        self,
        worker: BaseWorker[Any, Any, Any],
        flow_run: FlowRun,
        configuration: TejWorkerConfiguration,
        destination: TejDestination,
        job_id: str,
    ) -> None:
        self._worker, self._flow_run = worker, flow_run
        self._configuration, self._destination = configuration, destination
        self._job = destination.get_client().job(job_id)
        self._logger: PrefectLogAdapter = worker.get_flow_run_logger(flow_run)
        self._kill_at: float | None = None
        self._last_error = ""
        """The last error that was logged; empty if the queue has replied since."""
        self._has_ended_processes = False

    async def follow(self) -> int:
        """Wait until the job has ended; set the flow run's state if necessary.

        The state is set if the flow run was being cancelled, or if the flow's process
        ended without reporting a final state to Prefect.  Return the exit code that the
        worker reports to Prefect.
        """
        poller.watch(self._flow_run.id)
        try:
            status = await in_thread(self.wait)
        finally:
            poller.unwatch(self._flow_run.id)
        words = await in_thread(lambda: self.describe(status))
        message = f"Job {self._job.id} at {self._destination.place}: {words}"
        self._logger.info("%s", message)
        if status is not None:
            record = JobRecord(self._destination, self._job.id, self._flow_run.name)
            related = related_to(self._flow_run)
            emit_end(record, status, self._flow_run.id, related)
        while True:
            # The flow run is read again for each attempt, because the flow run may have
            # been retried since the last attempt.
            current = await self.read_flow_run()
            if current is None:
                return 0
            try:
                if await self._end_processes(current, status):
                    # The flow may have set its state before, so read the state again.
                    continue
                code = await self.report_end(current, status, message)
                break
            except tej.Error as error:
                # It is unknown whether a newer job decides the state of the flow run.
                # Try again without a limit, because the report could set a wrong state.
                # A user can end the attempts by cancelling the flow run, or by setting
                # the flow run to a final state.
                self._warn(error)
                await asyncio.sleep(RETRY)
        is_completed = current.state_type is StateType.COMPLETED
        if status and is_completed and self._configuration.delete_when_done:
            try:
                await in_thread(lambda: self._job.queue.delete_many([status]))
            except tej.Error as error:
                # The end of the flow run is reported, so this error is only logged.
                self._logger.warning("Job %s was not deleted: %s", self._job.id, error)
        return code

    async def _end_processes(
        self, current: FlowRun, status: tej.JobStatus | None
    ) -> bool:
        """Kill the processes that the ended job left, unless the flow run has ended.

        Prefect's runner in the job may have been killed alone, and the flow may still
        run.  The flow run must not be set to Crashed then, because a retry would run
        the same flow in two processes.  Return whether processes were left.  Only the
        first call can return true.
        """
        if status is None or not status.processes_left or self._has_ended_processes:
            return False
        if current.state_type not in CANCELLED and not needs_process(current):
            return False
        self._logger.warning(
            "Job %s has ended, but left %d of its processes running, and the flow run "
            "has not ended: the processes are killed",
            self._job.id,
            status.processes_left,
        )
        await in_thread(lambda: self._job.queue.kill_many([self._job.id]))
        self._has_ended_processes = True
        return True

    def wait(self) -> tej.JobStatus | None:
        """Wait until the job has ended, and return its final status.

        Return None if the job was deleted, or if its queue has been missing for more
        than `MISSING_TIMEOUT` seconds.  The waiting time is not limited, and other
        errors are retried.

        Raises QueueLinkBroken if a link to the queue has been broken for more than
        `MISSING_TIMEOUT` seconds.  The link shows that the queue has existed, so the
        job may be running.
        """
        output = JobOutput(self._job, self._worker._logger, f"{self._job.id}: ")
        missing_since: float | None = None
        while True:
            begun = time.monotonic()
            try:
                return self._wait_once(output)
            except tej.JobNotFound:
                return None
            except tej.QueueDoesntExist as error:
                # The queue's file system may only be unmounted for a while, so retry.
                now = time.monotonic()
                if missing_since is None or now - begun > RETRY:
                    # The queue may have existed during this attempt, but it has been
                    # missing for the last `error.waited` seconds.
                    missing_since = now - error.waited
                if now - missing_since > MISSING_TIMEOUT:
                    if isinstance(error, tej.QueueNotFound):
                        return None
                    raise
                problem: tej.Error = error
            except tej.Error as error:
                missing_since = None
                problem = error
            if time.monotonic() - begun > RETRY:
                # The queue has probably replied during this attempt.
                self._last_error = ""
            self._warn(problem)
            time.sleep(RETRY)

    def _warn(self, error: tej.Error) -> None:
        """Log an error that delays the report of the job's end, if the error is new."""
        if str(error) == self._last_error:
            return
        self._last_error = str(error)
        self._logger.warning(
            "%s; trying again every %d s until the end of job %s can be reported (the "
            "same error is not logged again)",
            error,
            RETRY,
            self._job.id,
        )

    def _wait_once(self, output: JobOutput) -> tej.JobStatus:
        """Wait without retries until the job has ended; return its final status."""
        queue, job_id = self._job.queue, self._job.id
        ended = queue.as_completed([job_id], on_tick=lambda: self._on_tick(output))
        _, status = next(iter(ended))
        if self._configuration.stream_output:
            output.read(last=True)
        return status

    def _on_tick(self, output: JobOutput) -> None:
        if self._configuration.stream_output:
            output.read()
        if (tunnel := self._configuration.tunnel) is not None:
            # The tunnel must be opened again after each reconnection.
            with contextlib.suppress(tej.ConnectionFailed):
                self._job.queue.transport.tunnel(*tunnel)
        self._kill_if_cancelled()

    def _kill_if_cancelled(self) -> None:
        """Kill the job of a cancelled flow run if its grace period is over."""
        # `_kill_at` stays set if the flow run is retried after its cancellation,
        # because the retry starts a new job.
        if self._kill_at is None and not poller.is_cancelled(self._flow_run.id):
            return
        now = time.monotonic()
        if self._kill_at is None:
            # A running job is not killed at once, so that the flow can end by itself
            # and call its cancellation hooks.
            runs = self._job.status().state not in PENDING
            self._kill_at = now + CANCEL_GRACE if runs else now
        if now >= self._kill_at:
            self._job.queue.kill_many([self._job.id])
            self._kill_at = now + CANCEL_GRACE

    def describe(self, status: tej.JobStatus | None) -> str:
        """Describe the end of the job, including a second start by the scheduler."""
        if status is None:
            return "the job does not exist"
        words = status.describe()
        # The output is checked as well, because a command of the user may exit with the
        # same code.
        if status.exit_code == STARTED_TWICE and any(
            STARTED_TWICE_MESSAGE in text
            for _, text in last_lines(self._job, self._logger)
        ):
            words += f". {STARTED_TWICE_MESSAGE}"
        return words

    async def read_flow_run(self) -> FlowRun | None:
        """Read the flow run from Prefect's API, and retry until the API replies.

        Returns None if the flow run was deleted.
        """
        while True:
            try:
                return await self._worker.client.read_flow_run(self._flow_run.id)
            except ObjectNotFound:
                return None
            except httpx.HTTPError as error:
                self._worker._logger.warning(
                    "The end of flow run %s cannot be reported, because Prefect's API "
                    "does not reply: %s; trying again in %d s",
                    self._flow_run.id,
                    error,
                    RETRY,
                )
                await asyncio.sleep(RETRY)

    async def report_end(
        self, current: FlowRun, status: tej.JobStatus | None, message: str
    ) -> int:
        """Set the flow run's state, unless the flow has set it.

        `current` is the flow run as read after the end of the job.  Returns the exit
        code that the worker reports to Prefect.
        """
        if current.state_type in CANCELLED:
            if current.state_type is StateType.CANCELLING:
                await self._worker._mark_flow_run_as_cancelled(
                    current, {"message": message}
                )
            return 0
        if needs_process(current):
            queue, job_id = self._job.queue, self._job.id
            if await in_thread(lambda: is_superseded(queue, current, job_id, status)):
                # The flow run was retried, and a newer job decides its state.
                return 0
            if status is not None:
                lines = await in_thread(lambda: last_lines(self._job, self._logger))
                for stream, text in lines:
                    self._logger.error(
                        "The last lines of the job's %s:\n%s", stream, text
                    )
            # The method of the base class is called, because the method of the worker
            # ignores crashes that the follower has reported.
            await BaseWorker._propose_crashed_state(self._worker, current, message)
        elif (
            (status is not None and status.succeeded)
            # A worker will submit the next job of a retried or suspended flow run.
            or current.state_type in (StateType.SCHEDULED, StateType.PAUSED)
        ):
            return 0
        # Codes from 125 on are not returned, because Prefect's explanation of these
        # codes in the log is true only for containers.
        code = 0 if status is None else int(status.result or 0)
        return code if 0 < code < 125 else 1
