"""Worker of type `tej`: runs each flow run of a work pool as a job on a server.

prefect work-pool create --type tej hpc
prefect worker start --pool hpc
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any
from uuid import UUID

import anyio
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
from tej_prefect.context import in_thread
from tej_prefect.destination import DOCUMENTATION_URL, LOGO_URL, TejDestination
from tej_prefect.flow_runs import CANCELLED, poller
from tej_prefect.internals import WORKER_NAME_LABEL
from tej_prefect.suspend import reconcile
from tej_prefect.worker_configuration import TejWorkerConfiguration, TejWorkerVariables
from tej_prefect.worker_job import (
    FLOW_RUN_LABEL,
    RETRY,
    log_output,
    submit,
    wait,
    warn_if_unreachable,
)

RECONCILE = float(os.environ.get("PREFECT_INTEGRATIONS_TEJ_RECONCILE_SECONDS", "60"))
"""Seconds between two reconciliations."""
LEASE = 300.0
"""Duration of a renewed concurrency lease in seconds, as in Prefect's engine."""
MISSED_HEARTBEATS = 3
"""Number of missed heartbeats after which a worker is considered dead.

Prefect itself uses the same number.
"""
UNENDED = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
SUBMIT_PATIENCE = 600.0
"""Seconds for which a submission is retried while the server cannot be reached."""
PAGE = 200


class TejWorkerResult(BaseWorkerResult):
    """Result of a flow run's job."""


class TejWorker(
    BaseWorker[TejWorkerConfiguration, TejWorkerVariables, TejWorkerResult]
):
    """Runs flow runs as jobs, directly on a server or through its scheduler.

    The job's id contains the flow run's id, so that no flow run is started twice.
    Every minute the worker takes over the flow runs of workers that have died, and
    renews the concurrency leases of pending flow runs.
    """

    type = "tej"
    job_configuration = TejWorkerConfiguration
    job_configuration_variables = TejWorkerVariables
    _display_name = "tej"
    _description = (
        "Run flows as jobs on a server over SSH: directly, or through Slurm or PBS. "
        "Only Prefect itself has to be installed on the server."
    )
    _documentation_url = DOCUMENTATION_URL
    _logo_url = LOGO_URL

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._followed: set[UUID] = set()
        """Flow runs whose jobs this worker is submitting or waiting for."""
        self._pending: set[UUID] = set()
        """Pending flow runs without a live worker at the last reconciliation."""
        self._reconciling = anyio.CancelScope()
        self._is_service = False

    async def start(self, *arguments: Any, **options: Any) -> None:
        """Start the worker as a service, which calls `_reconcile` periodically."""
        self._is_service = True
        await super().start(*arguments, **options)

    async def setup(self) -> None:
        """Set up the worker, and start the reconciliation of a service."""
        await super().setup()
        assert self._runs_task_group is not None
        self._reconciling = anyio.CancelScope()
        # A program may create a worker to submit its own flow.  The program's worker
        # must not take over other flow runs, because the program would wait for their
        # ends.
        if self._is_service:
            self._runs_task_group.start_soon(self._reconcile_forever)

    async def teardown(self, *exc_info: Any) -> None:
        """Stop the reconciliation, and tear down the worker."""
        self._reconciling.cancel()
        await super().teardown(*exc_info)

    async def run(
        self,
        flow_run: FlowRun,
        configuration: TejWorkerConfiguration,
        task_status: anyio.abc.TaskStatus[Any] | None = None,
    ) -> TejWorkerResult:
        """Submit a pending flow run as a job, and wait until the job has ended.

        If the flow run's job exists and has not ended, the method waits for that job.
        If the job has ended, it belongs to an earlier attempt, because the flow run is
        pending.  In this case a new job is started.  Raises tej.Error if the job cannot
        be submitted.
        """
        self._followed.add(flow_run.id)
        try:
            await self._renew_lease(flow_run.id)
            destination = await _load(configuration.destination)
            logger = self.get_flow_run_logger(flow_run)
            warn_if_unreachable(configuration, destination, logger)
            job_id = await self._submit(flow_run, configuration, destination)
            identifier = _identify(destination, job_id)
            logger.info("The flow run is job %s at %s", job_id, destination.place)
            if task_status is not None:
                task_status.started(identifier)
            else:
                await self.client.update_flow_run(
                    flow_run.id, infrastructure_pid=identifier
                )
            return await self._follow(flow_run, configuration, destination, job_id)
        finally:
            self._followed.discard(flow_run.id)

    async def kill_infrastructure(
        self,
        infrastructure_pid: str,
        configuration: TejWorkerConfiguration,
        grace_seconds: int = 30,
    ) -> None:
        """Kill a flow run's job.

        Raises InfrastructureNotFound if the job does not exist or has ended, and
        InfrastructureNotAvailable if the job is at another destination.
        """
        destination = await _load(configuration.destination)
        place, _, job_id = infrastructure_pid.rpartition(":")
        if place != destination.place:
            raise InfrastructureNotAvailable(
                f"Job '{job_id}' is at {place}, and this work pool's destination is "
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
                f"Job '{job_id}' at {place} does not exist or has ended"
            )

    async def _submit(
        self,
        flow_run: FlowRun,
        configuration: TejWorkerConfiguration,
        destination: TejDestination,
    ) -> str:
        """Start or find the job of a pending flow run, and return the job's id."""
        logger = self.get_flow_run_logger(flow_run)
        until = time.monotonic() + SUBMIT_PATIENCE
        while True:
            try:
                return await in_thread(
                    lambda: submit(
                        destination.get_client(), flow_run, configuration, logger
                    )
                )
            except (tej.AuthenticationFailed, tej.HostKeyRejected):
                raise
            except tej.ConnectionFailed as error:
                current = await self.client.read_flow_run(flow_run.id)
                if time.monotonic() > until or current.state_type in CANCELLED:
                    raise
                logger.warning("%s; trying again in %d s", error, RETRY)
                await asyncio.sleep(RETRY)

    async def _follow(
        self,
        flow_run: FlowRun,
        configuration: TejWorkerConfiguration,
        destination: TejDestination,
        job_id: str,
    ) -> TejWorkerResult:
        """Wait until a job has ended, and set the flow run's state if necessary.

        The state is set if the flow was being cancelled or had not ended by itself.
        """
        logger = self.get_flow_run_logger(flow_run)
        queue = destination.get_client()
        poller.watch(flow_run.id)
        try:
            status = await in_thread(
                lambda: wait(queue, job_id, flow_run, logger, configuration)
            )
        finally:
            poller.unwatch(flow_run.id)
        identifier = _identify(destination, job_id)
        words = "the job was deleted" if status is None else status.describe()
        message = f"Job {job_id} at {destination.place}: {words}"
        logger.info("%s", message)
        state = (await self.client.read_flow_run(flow_run.id)).state_type
        if state in CANCELLED:
            if state is StateType.CANCELLING:
                await self._mark_flow_run_as_cancelled(flow_run, {"message": message})
            return TejWorkerResult(status_code=0, identifier=identifier)
        ended_early = state in (StateType.RUNNING, StateType.PENDING)
        if status is not None and status.succeeded and not ended_early:
            if configuration.delete_when_done:
                await in_thread(lambda: queue.delete_many([job_id]))
            return TejWorkerResult(status_code=0, identifier=identifier)
        if status is not None:
            await in_thread(lambda: log_output(queue, job_id, logger))
        if ended_early:
            # The base class would set the same state, but with only the exit code in
            # the message.
            await self._propose_crashed_state(flow_run, message)
        # Codes from 125 on are not returned, because Prefect logs an explanation of
        # such codes that is true only for containers.
        code = 0 if status is None else int(status.result or 0)
        code = code if 0 < code < 125 else 1
        return TejWorkerResult(status_code=code, identifier=identifier)

    async def _reconcile_forever(self) -> None:
        with self._reconciling:
            while True:
                try:
                    await self._reconcile()
                    await in_thread(reconcile)
                except Exception as error:
                    # The API may be temporarily unavailable, so try again later.
                    self._logger.warning("Reconciliation failed: %s", error)
                await asyncio.sleep(RECONCILE)

    async def _reconcile(self) -> None:
        """Take over flow runs without a live worker, and renew leases."""
        assert self._runs_task_group is not None
        found = await self._unended_flow_runs()
        others = await self._live_workers() if found else set()
        seen, self._pending = self._pending, set()
        for flow_run in found:
            if flow_run.id in self._followed | self._submitting_flow_run_ids:
                if flow_run.state_type is StateType.PENDING:
                    await self._renew_lease(flow_run.id)
            elif flow_run.labels.get(WORKER_NAME_LABEL) not in others:
                if flow_run.state_type is StateType.PENDING and flow_run.id not in seen:
                    # A live worker may be submitting the flow run, and may not have
                    # set the worker's label yet.
                    self._pending.add(flow_run.id)
                    continue
                self._followed.add(flow_run.id)
                self._runs_task_group.start_soon(self._take_over, flow_run)

    async def _unended_flow_runs(self) -> list[FlowRun]:
        found: list[FlowRun] = []
        while True:
            page = await self.client.read_flow_runs(
                flow_run_filter=FlowRunFilter(
                    state=FlowRunFilterState(type=FlowRunFilterStateType(any_=UNENDED))
                ),
                work_pool_filter=WorkPoolFilter(
                    name=WorkPoolFilterName(any_=[self._work_pool_name])
                ),
                limit=PAGE,
                offset=len(found),
            )
            found += page
            if len(page) < PAGE:
                return found

    async def _live_workers(self) -> set[str]:
        """Return the names of other workers of the pool whose heartbeats are recent.

        All heartbeat times come from the API's clock.  The time of the newest heartbeat
        is used as the current time, because this worker also sends heartbeats.
        """
        workers = await self.client.read_workers_for_work_pool(self._work_pool_name)
        beats = {
            one.name: (one.last_heartbeat_time, one.heartbeat_interval_seconds or 30)
            for one in workers
            if one.last_heartbeat_time is not None
        }
        newest = max((beat for beat, _ in beats.values()), default=None)
        return {
            name
            for name, (beat, interval) in beats.items()
            if newest is not None
            and name != self.name
            and (newest - beat).total_seconds() < MISSED_HEARTBEATS * interval
        }

    async def _renew_lease(self, flow_run_id: UUID) -> None:
        """Renew the deployment's concurrency lease of a pending flow run.

        Prefect renews the lease only while the flow itself runs.  A lease that expires
        while the job waits in a scheduler's queue would cancel the flow run.
        """
        try:
            state = (await self.client.read_flow_run(flow_run_id)).state
            lease = state and state.state_details.deployment_concurrency_lease_id
            if lease:
                await self.client.renew_concurrency_lease(lease, LEASE)
        except Exception as error:
            self._logger.warning(
                "The concurrency lease of flow run %s was not renewed: %s",
                flow_run_id,
                error,
            )

    async def _take_over(self, flow_run: FlowRun) -> None:
        """Continue a flow run that another worker or an earlier process has started."""
        logger = self.get_flow_run_logger(flow_run)
        try:
            await self.client.update_flow_run_labels(
                flow_run.id, {WORKER_NAME_LABEL: self.name}
            )
            configuration = await self.job_configuration.resolve_for_flow_run(
                flow_run,
                client=self.client,
                work_pool=self.work_pool,
                worker_name=self.name,
                worker_id=self.backend_id,
            )
            destination = await _load(configuration.destination)
            if flow_run.state_type is StateType.PENDING:
                # The other worker may or may not have submitted the job.
                logger.info("Worker %r takes over the pending flow run", self.name)
                await self.run(flow_run, configuration)
            else:
                job_id = await self._find(flow_run, destination)
                logger.info("Worker %r takes over job %s", self.name, job_id)
                await self._follow(flow_run, configuration, destination, job_id)
        except Exception:
            # The next call of `_reconcile` tries to take over the flow run again.
            logger.exception("Worker %r cannot take over the flow run", self.name)
        finally:
            self._followed.discard(flow_run.id)

    async def _find(self, flow_run: FlowRun, destination: TejDestination) -> str:
        """Return the id of a flow run's job.

        Raises JobNotFound if no job has the label of the flow run.
        """
        if flow_run.infrastructure_pid:
            return flow_run.infrastructure_pid.rpartition(":")[2]
        queue = destination.get_client()
        labels = {FLOW_RUN_LABEL: str(flow_run.id)}
        jobs = await in_thread(lambda: queue.jobs(labels=labels, sort="submitted"))
        if not jobs:
            raise tej.JobNotFound(f"No job with the label {labels} in {queue!r}")
        return jobs[-1].job_id


async def _load(name: str) -> TejDestination:
    """Load a destination block; raise ValueError if no block has this name."""
    block = await TejDestination.aload(name)
    assert isinstance(block, TejDestination)
    return block


def _identify(destination: TejDestination, job_id: str) -> str:
    """Return the job's identifier, which Prefect stores as `infrastructure_pid`."""
    return f"{destination.place}:{job_id}"
