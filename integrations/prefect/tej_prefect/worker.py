"""A worker of type `tej`: a work pool whose flow runs are jobs on a server.

prefect work-pool create --type tej hpc
prefect worker start --pool hpc
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

import anyio.abc
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import InfrastructureNotAvailable, InfrastructureNotFound
from prefect.workers.base import BaseWorker, BaseWorkerResult

import tej
from tej_prefect.about import DOCUMENTATION, LOGO
from tej_prefect.destination import TejDestination
from tej_prefect.flow_runs import CANCELLED, flow_runs
from tej_prefect.threads import in_thread
from tej_prefect.worker_job import TejWorkerConfiguration, TejWorkerVariables

if TYPE_CHECKING:
    from prefect.logging.loggers import PrefectLogAdapter

UNDER_WAY = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
CANCEL_GRACE = 45.0
"""Seconds in which a cancelled flow run may end by itself before its job is killed."""
NOT_STARTED = (tej.JobState.CREATED, tej.JobState.QUEUED)
RETRY = 30.0
"""Seconds until a server that was not reached is asked again."""
LINES = 30
"""Lines of a failed job's output that go to the flow run's log."""
LABEL = "prefect-flow-run"


class TejWorkerResult(BaseWorkerResult):
    """How the job of a flow run has ended."""


class TejWorker(
    BaseWorker[TejWorkerConfiguration, TejWorkerVariables, TejWorkerResult]
):
    """Runs flow runs as jobs: directly on a server, or through its scheduler.

    A job's id is made from its flow run's, so that no flow run is started twice; when
    the worker starts, it finds the jobs that another one has left running.
    """

    type = "tej"
    job_configuration = TejWorkerConfiguration
    job_configuration_variables = TejWorkerVariables
    _display_name = "tej"
    _description = (
        "Run flows as jobs on a server reached over SSH: directly, or through Slurm or "
        "PBS. Nothing has to be installed there but Prefect itself."
    )
    _documentation_url = DOCUMENTATION
    _logo_url = LOGO

    async def setup(self) -> None:
        """As for all workers; then the jobs that run already are looked for."""
        await super().setup()
        assert self._runs_task_group is not None
        self._runs_task_group.start_soon(self._recover_all)

    async def run(
        self,
        flow_run: FlowRun,
        configuration: TejWorkerConfiguration,
        task_status: anyio.abc.TaskStatus[Any] | None = None,
    ) -> TejWorkerResult:
        """Submit a flow run as a job, or find it, and wait for its end.

        Raises tej.Error if it cannot be submitted.
        """
        job_id = f"prefect-{flow_run.id}-{flow_run.run_count}"
        logger = self.get_flow_run_logger(flow_run)
        destination = await _load(configuration.destination)
        queue = destination.get_client()

        def submit() -> None:
            try:
                with configuration.directory() as directory:
                    queue.submit(
                        job_id,
                        directory,
                        name=configuration.name or flow_run.name,
                        labels={LABEL: str(flow_run.id)},
                        resources=configuration.resources,
                        login=configuration.login,
                    )
            except tej.JobAlreadyExists:
                logger.info("Job %s is there already", job_id)

        tunnel = configuration.tunnel
        if tunnel is not None:
            await in_thread(lambda: queue.transport.tunnel(*tunnel))
        await in_thread(submit)
        identifier = _identify(destination, job_id)
        logger.info("The flow run is job %s at %s", job_id, destination.place)
        if task_status is not None:
            task_status.started(identifier)
        return await self._follow(flow_run, configuration, destination, job_id)

    async def kill_infrastructure(
        self,
        infrastructure_pid: str,
        configuration: TejWorkerConfiguration,
        grace_seconds: int = 30,
    ) -> None:
        """End a flow run's job.  Raises InfrastructureNotFound if it is not there, and
        InfrastructureNotAvailable if this work pool's jobs are elsewhere."""
        destination = await _load(configuration.destination)
        place, _, job_id = infrastructure_pid.rpartition(":")
        if place != destination.place:
            raise InfrastructureNotAvailable(
                f"Job '{job_id}' is at {place}, and this work pool's jobs are at "
                f"{destination.place}"
            )
        queue = destination.get_client()
        try:
            killed = await in_thread(
                lambda: queue.kill_many([job_id], grace=grace_seconds)
            )
        except tej.QueueDoesntExist as error:
            raise InfrastructureNotFound(str(error)) from error
        found = killed[job_id]
        if found is None or found.was.final:
            raise InfrastructureNotFound(
                f"Job '{job_id}' is not at {place}, or has ended"
            )

    async def _follow(
        self,
        flow_run: FlowRun,
        configuration: TejWorkerConfiguration,
        destination: TejDestination,
        job_id: str,
    ) -> TejWorkerResult:
        """Wait until a job ends, and say how in the words of Prefect."""
        logger = self.get_flow_run_logger(flow_run)
        queue = destination.get_client()
        flow_runs.watch(flow_run.id)
        try:
            status = await in_thread(
                lambda: _wait(queue, job_id, flow_run, logger, configuration)
            )
        finally:
            flow_runs.unwatch(flow_run.id)
        identifier = _identify(destination, job_id)
        if status is None:
            logger.error("Job %s was deleted at %s", job_id, destination.place)
            return TejWorkerResult(status_code=1, identifier=identifier)
        logger.info("Job %s: %s", job_id, status.describe())
        code = 1 if status.result is None else int(status.result)
        if status.state is not tej.JobState.FINISHED:
            code = code or 1
        state = (await self.client.read_flow_run(flow_run.id)).state_type
        if state in CANCELLED:
            if state is StateType.CANCELLING:
                await self._mark_flow_run_as_cancelled(
                    flow_run, {"message": f"Job {job_id}: {status.describe()}"}
                )
            return TejWorkerResult(status_code=0, identifier=identifier)
        if code == 0 and state in (StateType.RUNNING, StateType.PENDING):
            logger.error("Job %s has ended, and the flow run has not", job_id)
            code = 1
        if code:
            await in_thread(lambda: _show_output(queue, job_id, logger))
        elif configuration.delete_when_done:
            await in_thread(lambda: queue.delete_many([job_id]))
        return TejWorkerResult(status_code=code, identifier=identifier)

    async def _recover_all(self) -> None:
        """Go on with flow runs of this work pool that another worker has begun."""
        while True:
            try:
                found = await self.client.read_flow_runs(
                    flow_run_filter=FlowRunFilter(
                        state=FlowRunFilterState(
                            type=FlowRunFilterStateType(any_=UNDER_WAY)
                        )
                    ),
                    work_pool_filter=WorkPoolFilter(
                        name=WorkPoolFilterName(any_=[self._work_pool_name])
                    ),
                )
                break
            except Exception as error:
                self._logger.warning("Running jobs are not known yet: %s", error)
                await asyncio.sleep(RETRY)
        assert self._runs_task_group is not None
        for flow_run in found:
            if flow_run.id not in self._submitting_flow_run_ids:
                self._runs_task_group.start_soon(self._recover, flow_run)

    async def _recover(self, flow_run: FlowRun) -> None:
        logger = self.get_flow_run_logger(flow_run)
        try:
            configuration = await self.job_configuration.resolve_for_flow_run(
                flow_run,
                client=self.client,
                work_pool=self.work_pool,
                worker_name=self.name,
                worker_id=self.backend_id,
            )
            destination = await _load(configuration.destination)
            if flow_run.state_type is StateType.PENDING:
                # It may have been submitted, or not: to submit it finds out.
                result = await self._submit_again(flow_run, configuration, destination)
            else:
                job_id = await self._find(flow_run, destination)
                logger.info("Worker %r goes on with job %s", self.name, job_id)
                result = await self._follow(
                    flow_run, configuration, destination, job_id
                )
        except Exception:
            logger.exception("The flow run's job cannot be followed")
            return
        if result.status_code != 0:
            await self._propose_crashed_state(
                flow_run, f"Its job has ended with status {result.status_code}"
            )

    async def _submit_again(
        self,
        flow_run: FlowRun,
        configuration: TejWorkerConfiguration,
        destination: TejDestination,
    ) -> TejWorkerResult:
        job_id = f"prefect-{flow_run.id}-{flow_run.run_count}"
        await self.client.update_flow_run(
            flow_run.id, infrastructure_pid=_identify(destination, job_id)
        )
        return await self.run(flow_run, configuration)

    async def _find(self, flow_run: FlowRun, destination: TejDestination) -> str:
        """The id of the job that a flow run is."""
        if flow_run.infrastructure_pid:
            return flow_run.infrastructure_pid.rpartition(":")[2]
        queue = destination.get_client()
        labels = {LABEL: str(flow_run.id)}
        jobs = await in_thread(lambda: queue.jobs(labels=labels, sort="submitted"))
        if not jobs:
            raise tej.JobNotFound(f"No job at {destination.place} has {labels}")
        return jobs[-1].job_id


async def _load(name: str) -> TejDestination:
    """The destination block of that name; raises ValueError if there is none."""
    block = await TejDestination.aload(name)
    assert isinstance(block, TejDestination)
    return block


def _identify(destination: TejDestination, job_id: str) -> str:
    """What Prefect keeps to find the job again."""
    return f"{destination.place}:{job_id}"


def _wait(
    queue: tej.RemoteQueue,
    job_id: str,
    flow_run: FlowRun,
    logger: PrefectLogAdapter,
    configuration: TejWorkerConfiguration,
) -> tej.JobStatus | None:
    """Its final status, None if it is gone; for as long as it takes."""
    kill_at: float | None = None
    tunnel = configuration.tunnel

    def look() -> None:
        nonlocal kill_at
        if tunnel is not None:
            # A new connection has none.
            with contextlib.suppress(tej.ConnectionFailed):
                queue.transport.tunnel(*tunnel)
        if not flow_runs.is_cancelled(flow_run.id):
            return
        now = time.monotonic()
        if kill_at is None:
            # One that runs ends by itself, if it can.
            runs = queue.status(job_id).state not in NOT_STARTED
            kill_at = now + CANCEL_GRACE if runs else now
        if now >= kill_at:
            queue.kill_many([job_id])
            kill_at = now + CANCEL_GRACE

    while True:
        try:
            for _, status in queue.as_completed([job_id], on_tick=look):
                return status
        except (tej.JobNotFound, tej.QueueDoesntExist):
            return None
        except tej.ConnectionFailed as error:
            logger.warning("%s; trying again in %d s", error, RETRY)
            time.sleep(RETRY)


def _show_output(
    queue: tej.RemoteQueue, job_id: str, logger: PrefectLogAdapter
) -> None:
    for stream in ("stdout", "stderr"):
        try:
            data = b"".join(queue.logs(job_id, stream, tail=LINES))
        except tej.Error as error:
            logger.warning("The job's output is not to be had: %s", error)
            return
        if text := data.decode("utf-8", "replace").strip():
            logger.error("The job's %s ends with:\n%s", stream, text)
