"""Jobs of flow runs, for the worker: submission, wait, and log output."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from prefect.client.schemas.objects import FlowRun

import tej
from tej_prefect.destination import TejDestination
from tej_prefect.flow_runs import poller
from tej_prefect.worker_configuration import TejWorkerConfiguration, is_loopback

if TYPE_CHECKING:
    from prefect.logging.loggers import PrefectLogAdapter

CANCEL_GRACE = 45.0
"""Seconds after which the job of a cancelled flow run is killed if it has not ended."""
NOT_STARTED = (tej.JobState.CREATED, tej.JobState.QUEUED)
RETRY = 30.0
"""Seconds between two attempts to reach a server."""
OUTPUT_LINES = 30
"""Number of lines of a failed job's output that are copied to the flow run's log."""
FLOW_RUN_LABEL = "prefect-flow-run"


def submit(
    queue: tej.RemoteQueue,
    flow_run: FlowRun,
    configuration: TejWorkerConfiguration,
    logger: PrefectLogAdapter,
) -> str:
    """Start or find the job of a pending flow run, and return the job's id.

    If several workers call this function for the same flow run, only one worker starts
    the job.  If the flow run has a job that has ended, the job belongs to an earlier
    attempt, because the flow run is pending.  In this case a new job is started.
    """
    if configuration.tunnel is not None:
        queue.transport.tunnel(*configuration.tunnel)
    number = flow_run.run_count
    while True:
        job_id = f"prefect-{flow_run.id}-{number}"
        try:
            with configuration.directory() as directory:
                queue.submit(
                    job_id,
                    directory,
                    name=configuration.name or flow_run.name,
                    labels={
                        **configuration.job_labels,
                        FLOW_RUN_LABEL: str(flow_run.id),
                    },
                    resources=configuration.resources,
                    login=configuration.login,
                )
        except tej.JobAlreadyExists:
            status = queue.statuses([job_id])[job_id]
            if status is not None and not status.state.final:
                logger.info("Job %s exists already", job_id)
                return job_id
            number += 1
        else:
            return job_id


def warn_if_unreachable(
    configuration: TejWorkerConfiguration,
    destination: TejDestination,
    logger: PrefectLogAdapter,
) -> None:
    """Log a warning if the API's address is local and jobs run on another machine."""
    url = configuration.unreachable_url
    if url and not is_loopback(urlsplit(destination.address).hostname or "localhost"):
        logger.warning(
            "Jobs at %s probably cannot reach Prefect's API at %s: set the variable "
            "`api_url` or `tunnel_port`",
            destination.address,
            url,
        )


def wait(
    queue: tej.RemoteQueue,
    job_id: str,
    flow_run: FlowRun,
    logger: PrefectLogAdapter,
    configuration: TejWorkerConfiguration,
) -> tej.JobStatus | None:
    """Wait until the job has ended, and return its final status.

    Return None if the job was deleted.  The waiting time is not limited.
    """
    kill_at: float | None = None
    tunnel = configuration.tunnel

    def on_tick() -> None:
        nonlocal kill_at
        if tunnel is not None:
            # The tunnel must be opened again after each reconnection.
            with contextlib.suppress(tej.ConnectionFailed):
                queue.transport.tunnel(*tunnel)
        if not poller.is_cancelled(flow_run.id):
            return
        now = time.monotonic()
        if kill_at is None:
            # A running job is not killed at once, so that the flow can end by itself
            # and call its cancellation hooks.
            runs = queue.status(job_id).state not in NOT_STARTED
            kill_at = now + CANCEL_GRACE if runs else now
        if now >= kill_at:
            queue.kill_many([job_id])
            kill_at = now + CANCEL_GRACE

    while True:
        try:
            for _, status in queue.as_completed([job_id], on_tick=on_tick):
                return status
        except (tej.JobNotFound, tej.QueueDoesntExist):
            return None
        except tej.ConnectionFailed as error:
            logger.warning("%s; trying again in %d s", error, RETRY)
            time.sleep(RETRY)


def log_output(queue: tej.RemoteQueue, job_id: str, logger: PrefectLogAdapter) -> None:
    """Log the last lines of a failed job's output."""
    for stream in ("stdout", "stderr"):
        try:
            data = b"".join(queue.logs(job_id, stream, tail=OUTPUT_LINES))
        except tej.Error as error:
            logger.warning("The job's output was not read: %s", error)
            return
        if text := data.decode("utf-8", "replace").strip():
            logger.error("The last lines of the job's %s:\n%s", stream, text)
