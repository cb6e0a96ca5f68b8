"""Deletion of old jobs: a worker deletes the jobs of flow runs that ended long ago."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

import tej
from tej_prefect.context import logger as worker_logger

DELETE_PERIOD = 3600.0
"""Seconds between two deletions of old jobs."""
FLOW_RUN_LABEL = "prefect-flow-run"
DELETE_LABEL = "prefect-delete-after"
"""Label with the number of days after which a flow run's ended job is deleted."""


def delete_old_jobs(queue: tej.RemoteQueue, unended: Collection[str]) -> None:
    """Delete the jobs that ended longer ago than the days in their `DELETE_LABEL`.

    The jobs of the flow runs in `unended` are kept, because their ends have not been
    reported to Prefect yet.  Errors are only logged, because the deletion is repeated.
    """
    try:
        old = [
            job
            for job in queue.jobs()
            if DELETE_LABEL in job.labels
            and job.state.final
            # `reported` is the time of the request by the server's clock. The clock of
            # this machine is not used, because it may differ.
            and job.ended is not None
            and job.reported is not None
            and job.reported - job.ended > timedelta(float(job.labels[DELETE_LABEL]))
            and job.labels.get(FLOW_RUN_LABEL) not in unended
        ]
        queue.delete_many(old)
    except (tej.Error, ValueError) as error:
        worker_logger.info("Old jobs in %r could not be deleted: %s", queue, error)
    else:
        if old:
            worker_logger.info("%d old jobs in %r were deleted", len(old), queue)
