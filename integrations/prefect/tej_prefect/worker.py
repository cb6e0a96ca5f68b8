"""Worker of type `tej`: runs each flow run of a work pool as a job on a server.

prefect work-pool create --type tej hpc
prefect worker start --pool hpc
"""

from __future__ import annotations

import asyncio
import functools
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
import anyio.abc
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, StateType, WorkPool
from prefect.exceptions import (
    InfrastructureNotAvailable,
    InfrastructureNotFound,
    ObjectNotFound,
)
from prefect.workers.base import BaseWorker, BaseWorkerResult

import tej
from tej_prefect.bundles import with_storage
from tej_prefect.concurrency_lease import renew_lease
from tej_prefect.context import in_thread
from tej_prefect.context import logger as worker_logger
from tej_prefect.credentials import DOCUMENTATION_URL, LOGO_URL, TejDestination
from tej_prefect.job_follower import JobFollower
from tej_prefect.old_jobs import DELETE_PERIOD, delete_old_jobs
from tej_prefect.suspend import reconcile
from tej_prefect.worker_configuration import TejWorkerConfiguration, TejWorkerVariables
from tej_prefect.worker_job import (
    check_place,
    is_of_attempt,
    start_or_find,
)
from tej_prefect.worker_takeover import (
    WORKER_NAME_LABEL,
    OrphanFinder,
    names_of_live,
    unended_flow_runs,
)

RECONCILE = float(os.environ.get("PREFECT_INTEGRATIONS_TEJ_RECONCILE_SECONDS", "60"))
"""Seconds between two searches for flow runs to take over or to resume."""


class TejWorkerResult(BaseWorkerResult):
    """Result of a flow run's job."""


class TejWorker(
    BaseWorker[TejWorkerConfiguration, TejWorkerVariables, TejWorkerResult]
):
    """Runs flow runs as jobs, directly on a server or through its scheduler.

    The job's id contains the flow run's id and the number of its attempt, so that no
    attempt is started twice.  Every minute the worker takes over the flow runs of
    workers that have died, and renews the concurrency leases of pending flow runs.
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
        self._followed: Counter[UUID] = Counter()
        """Flow runs whose jobs this worker is submitting or waiting for.

        If a flow run is retried before its job has ended, the worker submits the new
        job while it still waits for the old job."""
        self._reported: Counter[UUID] = Counter()
        """Number of crashes of each flow run that the base class must not report."""
        self._orphans = OrphanFinder(self.name)
        self._refusals: dict[UUID, str] = {}
        """The last error of each flow run that could not be taken over."""
        self._queues: dict[tej.RemoteQueue, None] = {}
        """Queues with jobs of flow runs that this worker has followed."""
        self._reconciling = anyio.CancelScope()
        self._is_service = False
        self._spool: Path | None = None
        """Directory of the bundles that this worker sends with jobs."""

    @property
    def work_pool(self) -> WorkPool:
        """The work pool; if it has no storage for bundles, with `_spool` as storage."""
        pool = super().work_pool
        return pool if self._spool is None else with_storage(pool, self._spool)

    async def start(self, *arguments: Any, **options: Any) -> None:
        """Start the worker as a service, which calls `_reconcile` periodically."""
        self._is_service = True
        await super().start(*arguments, **options)

    async def setup(self) -> None:
        """Set up the worker, and start its periodic tasks."""
        if not self._is_service:
            # Only a program that calls a flow sends bundles.  A service gets no
            # directory for bundles, because the directory would remain if the service
            # were killed.
            self._spool = Path(tempfile.mkdtemp(prefix="tej-bundles-"))
        await super().setup()
        assert self._runs_task_group is not None
        self._reconciling = anyio.CancelScope()
        self._runs_task_group.start_soon(self._repeat_steps)

    async def teardown(self, *exc_info: Any) -> None:
        """Stop the periodic tasks, and tear down the worker."""
        self._reconciling.cancel()
        try:
            await super().teardown(*exc_info)
        finally:
            if self._spool is not None:
                shutil.rmtree(self._spool, ignore_errors=True)

    async def run(
        self,
        flow_run: FlowRun,
        configuration: TejWorkerConfiguration,
        task_status: anyio.abc.TaskStatus[Any] | None = None,
    ) -> TejWorkerResult:
        """Submit a pending flow run as a job, and wait until the job has ended.

        If the job of this attempt exists, or if the flow run is not pending any more,
        the method waits for the existing job.  Raises tej.Error if the job cannot be
        submitted.
        """
        self._followed[flow_run.id] += 1
        try:
            if task_status is None:
                await self.client.update_flow_run_labels(
                    flow_run.id, {WORKER_NAME_LABEL: self.name}
                )
            destination = await _load(configuration.destination)
            configuration.prepare_for_destination(destination.address, self._spool)
            logger = self.get_flow_run_logger(flow_run)
            configuration.warn_if_unreachable(destination.address, logger)
            job_id = await start_or_find(self, flow_run, configuration, destination)
            # Prefect stores the identifier as `infrastructure_pid`.
            identifier = f"{destination.place}:{job_id}"
            logger.info("The flow run is job %s at %s", job_id, destination.place)
            if task_status is not None:
                task_status.started(identifier)
            else:
                await self.client.update_flow_run(
                    flow_run.id, infrastructure_pid=identifier
                )
            self._queues[destination.get_client()] = None
            follower = JobFollower(self, flow_run, configuration, destination, job_id)
            code = await follower.follow()
            if code:
                self._reported[flow_run.id] += 1
            return TejWorkerResult(status_code=code, identifier=identifier)
        finally:
            self._followed -= Counter([flow_run.id])

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
        check_place(infrastructure_pid, destination)
        place, _, job_id = infrastructure_pid.rpartition(":")
        queue = destination.get_client()
        try:
            killed = await in_thread(
                lambda: queue.kill_many([job_id], grace=grace_seconds)
            )
        except tej.QueueNotFound as error:
            raise InfrastructureNotFound(str(error)) from error
        found = killed[job_id]
        if found is None or found.was.final:
            raise InfrastructureNotFound(
                f"Job '{job_id}' at {place} does not exist or has ended"
            )

    async def _propose_crashed_state(
        self, flow_run: FlowRun, message: str, client: PrefectClient | None = None
    ) -> None:
        """Report a crash, unless this worker has already reported the end of the job.

        The base class would report each nonzero exit code a second time, without the
        reason.  An automation may have retried the flow run in the meantime, and the
        retried flow run must not be set to Crashed.
        """
        if self._reported[flow_run.id]:
            self._reported -= Counter([flow_run.id])
            return
        await super()._propose_crashed_state(flow_run, message, client)

    async def _repeat_steps(self) -> None:
        """Run the periodic tasks of a service; outside a service, only send heartbeats.

        A program may create a worker to submit its own flow.  The program's worker must
        not take over other flow runs, because the program would wait for them.
        Without heartbeats, other workers would take over the program's flow run.
        """
        with self._reconciling:
            async with anyio.create_task_group() as group:
                if not self._is_service:
                    seconds = self.heartbeat_interval_seconds
                    group.start_soon(_repeat, self.sync_with_backend, seconds)
                    return
                group.start_soon(_repeat, self._reconcile, RECONCILE)
                group.start_soon(_repeat, self._delete_old_jobs, DELETE_PERIOD)
                # Suspended flow runs have a task of their own, because a request to an
                # unreachable server may take longer than a concurrency lease lasts.
                resume = functools.partial(in_thread, reconcile)
                group.start_soon(_repeat, resume, RECONCILE)

    async def _reconcile(self) -> None:
        """Take over flow runs whose worker is dead, and renew concurrency leases."""
        assert self._runs_task_group is not None
        found = await unended_flow_runs(self.client, self._work_pool_name)
        for ended in self._refusals.keys() - {one.id for one in found}:
            del self._refusals[ended]
        workers = await self.client.read_workers_for_work_pool(self._work_pool_name)
        for flow_run in found:
            is_pending = flow_run.state_type is StateType.PENDING
            if is_pending and flow_run.id in self._own_flow_runs:
                await renew_lease(self.client, flow_run)
        # This filter comes last, because this worker may have started to follow flow
        # runs since the first request.
        others = [one for one in found if one.id not in self._own_flow_runs]
        for flow_run in self._orphans.find(others, names_of_live(workers)):
            self._followed[flow_run.id] += 1
            self._runs_task_group.start_soon(self._take_over, flow_run)

    @property
    def _own_flow_runs(self) -> set[UUID]:
        return self._followed.keys() | self._submitting_flow_run_ids

    async def _delete_old_jobs(self) -> None:
        found = await unended_flow_runs(self.client, self._work_pool_name)
        unended = {str(one.id) for one in found}
        for queue in [*self._queues]:
            await in_thread(functools.partial(delete_old_jobs, queue, unended))

    async def _take_over(self, flow_run: FlowRun) -> None:
        """Continue a flow run that another worker or an earlier process has started.

        After an error, the next call to `_reconcile` tries again.  The error is logged
        only if it differs from the last error.
        """
        logger = self.get_flow_run_logger(flow_run)
        try:
            configuration = await self._resolve(flow_run)
            if flow_run.state_type is StateType.PENDING and is_of_attempt(
                flow_run.infrastructure_pid, flow_run
            ):
                # Raise an error if the job of the current attempt is at another
                # destination.
                destination = await _load(configuration.destination)
                check_place(flow_run.infrastructure_pid, destination)
            if flow_run.id not in self._refusals:
                logger.info("Worker %r takes over the flow run", self.name)
            if (await self.run(flow_run, configuration)).status_code:
                # The base class did not call `run`, so it will not report this end.
                self._reported -= Counter([flow_run.id])
            self._refusals.pop(flow_run.id, None)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            if self._refusals.get(flow_run.id) != reason:
                self._refusals[flow_run.id] = reason
                logger.warning(
                    "Worker %r cannot take over the flow run (%s). Job %s may still "
                    "run: check the job with `tej status`. The worker tries again "
                    "every %d s, and logs only a different error",
                    self.name,
                    reason,
                    flow_run.infrastructure_pid or "of the flow run",
                    RECONCILE,
                )
        finally:
            self._followed -= Counter([flow_run.id])

    async def _resolve(self, flow_run: FlowRun) -> TejWorkerConfiguration:
        """Return the configuration of a flow run.

        Raises InfrastructureNotAvailable if the deployment of the flow run was deleted.
        """
        deployment = None
        if flow_run.deployment_id is not None:
            try:
                deployment = await self.client.read_deployment(flow_run.deployment_id)
            except ObjectNotFound:
                raise InfrastructureNotAvailable(
                    "its deployment was deleted, so the destination of its job is "
                    "unknown: set the state of the flow run by hand"
                ) from None
        return await self.job_configuration.resolve_for_flow_run(
            flow_run,
            client=self.client,
            work_pool=self.work_pool,
            worker_name=self.name,
            worker_id=self.backend_id,
            deployment=deployment,
        )


async def _repeat(step: Callable[[], Awaitable[None]], seconds: float) -> None:
    """Call `step` every `seconds` seconds, forever; errors are only logged."""
    while True:
        try:
            await step()
        except Exception as error:
            worker_logger.warning(
                "The work pool's flow runs could not be checked with Prefect's API: "
                "%s; trying again in %d s",
                error,
                seconds,
            )
        await asyncio.sleep(seconds)


async def _load(name: str) -> TejDestination:
    """Load a destination block; raise ValueError if no block has this name."""
    block = await TejDestination.aload(name)
    assert isinstance(block, TejDestination)
    return block
