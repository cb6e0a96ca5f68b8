"""Jobs of flow runs, for the worker: ids, attempts and submission."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from prefect.client.schemas.objects import FlowRun, StateType
from prefect.events import RelatedResource
from prefect.events.related import object_as_related_resource
from prefect.exceptions import InfrastructureNotAvailable
from prefect.workers.base import BaseWorker

import tej
from tej_prefect.bundles import lacks_bundle
from tej_prefect.concurrency_lease import renew_lease
from tej_prefect.context import CANCELLED, in_thread
from tej_prefect.credentials import TejDestination
from tej_prefect.events import emit_start
from tej_prefect.job_result import UNENDED_STATES, JobRecord
from tej_prefect.old_jobs import DELETE_LABEL, FLOW_RUN_LABEL
from tej_prefect.worker_configuration import TejWorkerConfiguration

if TYPE_CHECKING:
    from prefect.logging.loggers import PrefectLogAdapter

UNENDED = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
AWAITING_RETRY = "AwaitingRetry"
"""Name of the state of a flow run that failed and will be retried."""
CANCEL_GRACE = 45.0
"""Seconds after which a worker kills the job of a cancelled or retried flow run if the
job has not ended."""
RETRY = 30.0
"""Seconds between two attempts to reach a server."""
SUBMIT_TIMEOUT = 600.0
"""Seconds for which a submission is retried while the server cannot be reached."""
STATE_LABEL = "prefect-state"
"""Label with the id of the Pending state in which the job's flow run was submitted.

Each attempt of a flow run has a Pending state of its own, so the label shows whether an
ended job belongs to the current attempt."""


async def start_or_find(
    worker: BaseWorker[Any, Any, Any],
    flow_run: FlowRun,
    configuration: TejWorkerConfiguration,
    destination: TejDestination,
) -> str:
    """Start or find the job of a flow run, and return the job's id.

    While the server cannot be reached, try again for `SUBMIT_TIMEOUT` seconds.  A
    refused login is repeated only if an earlier login of this process has succeeded:
    after a reboot, a server may refuse all logins for a while.
    """
    until = time.monotonic() + SUBMIT_TIMEOUT
    pause = RETRY
    while True:
        # `flow_run` may be outdated.  If the flow run was cancelled, or if another
        # worker has submitted the job and reported its end, this worker must not
        # start a job.
        current = await worker.client.read_flow_run(flow_run.id)
        try:
            return await _start_or_find_once(
                worker, current, configuration, destination
            )
        except tej.HostKeyRejected:
            raise
        except tej.ConnectionFailed as error:
            if isinstance(error, tej.AuthenticationFailed):
                was_reached = destination.get_client().was_reached
                if error.sent_secret or not was_reached or time.monotonic() > until:
                    raise
                # A server may block an address after many refused logins.
                pause *= 2
            # The job may have started although the reply was lost.  Therefore the
            # search for the job of a cancelled flow run has no time limit.
            is_pending = current.state_type is StateType.PENDING
            if is_pending and time.monotonic() > until:
                raise
            worker.get_flow_run_logger(flow_run).warning(
                "%s; trying again in %d s", error, pause
            )
            await asyncio.sleep(pause)


async def _start_or_find_once(
    worker: BaseWorker[Any, Any, Any],
    flow_run: FlowRun,
    configuration: TejWorkerConfiguration,
    destination: TejDestination,
) -> str:
    """Start or find the job if the flow run is pending, else find its newest job."""
    queue = destination.get_client()
    logger = worker.get_flow_run_logger(flow_run)
    if flow_run.state_type is not StateType.PENDING:
        check_place(flow_run.infrastructure_pid, destination)
        return await in_thread(lambda: newest_job(queue, flow_run))
    # Only the process that called the flow has its bundle, and can start its job.
    only_find = lacks_bundle(configuration.command, worker.work_pool)
    if not only_find:
        await renew_lease(worker.client, flow_run)
        while await in_thread(lambda: end_earlier_jobs(queue, flow_run, logger)):
            # While the worker waited, the earlier job may have completed the flow run,
            # or a user may have cancelled it. In both cases, start no new job.
            current = await worker.client.read_flow_run(flow_run.id)
            if current.state_type in (*CANCELLED, StateType.COMPLETED):
                return await in_thread(lambda: newest_job(queue, flow_run))
    return await in_thread(
        lambda: submit(
            destination, flow_run, configuration, logger, only_find=only_find
        )
    )


def check_place(infrastructure_pid: str | None, destination: TejDestination) -> None:
    """Raise InfrastructureNotAvailable if the job is at another destination.

    The destination of a block or work pool may have been changed since the submission.
    """
    place, _, job_id = (infrastructure_pid or "").rpartition(":")
    if infrastructure_pid and place != destination.place:
        raise InfrastructureNotAvailable(
            f"Job '{job_id}' is at {place}, but this work pool's destination is "
            f"{destination.place}"
        )


def submit(
    destination: TejDestination,
    flow_run: FlowRun,
    configuration: TejWorkerConfiguration,
    logger: PrefectLogAdapter,
    *,
    only_find: bool = False,
) -> str:
    """Start or find the job of a pending flow run, and return the job's id.

    If several workers call this function for the same flow run, only one worker starts
    the job.  A job that has ended is found only if the job was submitted for the
    current state of the flow run.  Otherwise, the job belongs to an earlier attempt,
    and a new job is started.  If `only_find` is true, no job is started, and the
    returned id may be that of a job that does not exist.
    """
    queue = destination.get_client()
    state = str(flow_run.state_id)
    number = flow_run.run_count
    if only_find:
        # A job of an earlier attempt may still end the flow run: follow the oldest job.
        unended = jobs_of(queue, flow_run, UNENDED_STATES)
        number = min([number, *(_number(one, flow_run) for one in unended)])
    while True:
        job_id = job_id_of(flow_run, number)
        if not only_find:
            with contextlib.suppress(tej.JobAlreadyExists):
                _start(destination, flow_run, configuration, job_id)
                return job_id
        status = _status(queue, job_id)
        if status is None and only_find:
            return job_id
        if status is not None and (
            not status.state.final or status.labels.get(STATE_LABEL) == state
        ):
            logger.info("Job %s exists already", job_id)
            return job_id
        number += 1


def _status(queue: tej.RemoteQueue, job_id: str) -> tej.JobStatus | None:
    try:
        return queue.statuses([job_id])[job_id]
    except tej.QueueNotFound:
        return None


def _start(
    destination: TejDestination,
    flow_run: FlowRun,
    configuration: TejWorkerConfiguration,
    job_id: str,
) -> None:
    queue = destination.get_client()
    if configuration.tunnel is not None:
        queue.transport.tunnel(*configuration.tunnel)
    labels = {
        **configuration.labels,
        FLOW_RUN_LABEL: str(flow_run.id),
        STATE_LABEL: str(flow_run.state_id),
    }
    if configuration.delete_after is not None:
        labels[DELETE_LABEL] = f"{configuration.delete_after:g}"
    with configuration.directory() as directory:
        queue.submit(
            job_id,
            directory,
            name=configuration.name or flow_run.name,
            labels=labels,
            resources=configuration.resources,
            login=configuration.login,
        )
    emit_start(JobRecord(destination, job_id, flow_run.name), related_to(flow_run))


def job_id_of(flow_run: FlowRun, number: int | None = None) -> str:
    """Return the id of a flow run's job, by default the job of its next attempt."""
    return f"prefect-{flow_run.id}-{flow_run.run_count if number is None else number}"


def end_earlier_jobs(
    queue: tej.RemoteQueue, flow_run: FlowRun, logger: PrefectLogAdapter
) -> bool:
    """End the jobs of a flow run's earlier attempts; return whether a job was found.

    A user or an automation may retry a flow run whose job has not ended.  Without this
    function, two jobs would execute the same flow run.  Each earlier job has
    `CANCEL_GRACE` seconds to end by itself, and is then killed.  Call the function
    until it returns False, because a job may still run for a while after the kill.
    """
    number = flow_run.run_count
    jobs = jobs_of(queue, flow_run, UNENDED_STATES) if number else []
    earlier = [one for one in jobs if _number(one, flow_run) < number]
    if not earlier:
        return False
    logger.warning(
        "The flow run was retried before its job %s had ended; if the job does not end "
        "within %d seconds, the job is killed",
        ", ".join(earlier),
        CANCEL_GRACE,
    )
    with contextlib.suppress(tej.WaitTimeout, tej.JobNotFound):
        for _ in queue.as_completed(earlier, CANCEL_GRACE):
            pass
    queue.kill_many(earlier)
    return True


def jobs_of(
    queue: tej.RemoteQueue, flow_run: FlowRun, states: Collection[str] = ()
) -> list[str]:
    """Return the ids of the jobs that workers have submitted for a flow run."""
    try:
        jobs = queue.jobs(states=states, labels={FLOW_RUN_LABEL: str(flow_run.id)})
    except tej.QueueNotFound:
        return []
    # Jobs that the flow itself has started have the same label, and are skipped.
    return [one.job_id for one in jobs if _number(one.job_id, flow_run) >= 0]


def newest_job(queue: tej.RemoteQueue, flow_run: FlowRun) -> str:
    """Return the id of the job of a flow run's last attempt.

    `infrastructure_pid` may name the job of an earlier attempt, if a worker died before
    it stored the id of the newest job.  Therefore this function reads the jobs in the
    queue.  If no job exists, the function returns the id in `infrastructure_pid`, or
    else the id of the job that would be submitted.
    """
    found = jobs_of(queue, flow_run)
    if stored := (flow_run.infrastructure_pid or "").rpartition(":")[2]:
        found.append(stored)
    if not found:
        return job_id_of(flow_run)
    return max(found, key=lambda one: _number(one, flow_run))


def is_of_attempt(infrastructure_pid: str | None, flow_run: FlowRun) -> bool:
    """Return whether a job may belong to the current attempt of a flow run."""
    job_id = (infrastructure_pid or "").rpartition(":")[2]
    return _number(job_id, flow_run) >= flow_run.run_count


def is_superseded(
    queue: tej.RemoteQueue,
    flow_run: FlowRun,
    job_id: str,
    status: tej.JobStatus | None,
) -> bool:
    """Return whether an ended job belongs to an earlier attempt of a flow run.

    `flow_run` must have been read after the end of the job.
    """
    state = None if status is None else status.labels.get(STATE_LABEL)
    if (
        flow_run.state_type is StateType.PENDING
        and state is not None
        and state != str(flow_run.state_id)
    ):
        # A worker may be submitting the job of the current attempt. Assume so.
        return True
    newest = newest_job(queue, flow_run)
    return _number(newest, flow_run) > _number(job_id, flow_run)


def _number(job_id: str, flow_run: FlowRun) -> int:
    """Return the number at the end of the id of a flow run's job; -1 for other ids."""
    number = job_id.removeprefix(f"prefect-{flow_run.id}-")
    return int(number) if number.isdecimal() and number != job_id else -1


def related_to(flow_run: FlowRun) -> list[RelatedResource]:
    """Return the related resources of a job's event, namely the flow run."""
    return [object_as_related_resource("flow-run", "flow-run", flow_run)]


def needs_process(flow_run: FlowRun) -> bool:
    """Return whether the flow run cannot continue without its current process.

    Returns False for a flow run that has ended, is suspended, or will be started by a
    worker.  Returns True for a flow that waits in its process for a retry or a pause.
    """
    state = flow_run.state
    if state is None:
        return False
    if state.type is StateType.SCHEDULED:
        # No worker starts a flow run whose process waits for the retry.
        in_process = flow_run.empirical_policy.retry_type == "in_process"
        return in_process and state.name == AWAITING_RETRY
    if state.type is StateType.PAUSED:
        return not state.state_details.pause_reschedule
    return state.type in UNENDED
