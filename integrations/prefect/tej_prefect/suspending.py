"""Long jobs need no process: the flow run is suspended, and resumed when they are over.

`suspend_until_done` ends the flow's process; the deployment `tej-resumer` looks every
minute which jobs have ended, in one round trip for each destination, and resumes the
flow runs that wait for them.  A resumed flow begins at its top, and finds its jobs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import uuid4

from prefect.flow_runs import suspend_flow_run

import tej
from tej_prefect.board import Board
from tej_prefect.context import current_run
from tej_prefect.custody import run_logger
from tej_prefect.job_run import TejJobRun
from tej_prefect.owners import AWAITED_KEY

PAUSE_KEY = "tej-"
"""How the keys of our suspensions begin."""


def suspend_until_done(runs: TejJobRun | Sequence[TejJobRun]) -> None:
    """Return if these jobs have ended, well or not; if not, suspend the flow run.

        @flow
        def study() -> None:
            runs = [submit_job(job) for job in jobs]
            suspend_until_done(runs)
            results = [fetch_results(run) for run in runs]

    To be called in the flow itself, which has to be a deployment's; what is before it
    runs again when the flow run is resumed, so it has to be tasks of tej's, or
    cheap.  Raises ValueError for a destination that is no stored block: the resumer
    could not find it.
    """
    jobs = [runs] if isinstance(runs, TejJobRun) else list(runs)
    for job in jobs:
        if job.destination._block_document_name is None:
            raise ValueError(
                f"The destination {job.destination.place} is no stored block, so that "
                "nobody could look for its jobs: TejDestination(...).save(NAME), and "
                "then TejDestination.load(NAME)"
            )
    waiting = unended(jobs)
    if not waiting:
        return
    run_logger().info("%d of %d jobs have not ended", len(waiting), len(jobs))
    # A key that was used before would be taken for a suspension that is over.
    key = f"{PAUSE_KEY}{uuid4()}"
    Board(current_run(), key=AWAITED_KEY, about=key).add(dict.fromkeys(jobs))
    suspend_flow_run(key=key)


def unended(jobs: Iterable[TejJobRun]) -> list[TejJobRun]:
    """Those that have not ended: one round trip for each destination.

    Raises tej.JobNotFound for one that is not there.
    """
    groups: dict[tej.RemoteQueue, list[TejJobRun]] = {}
    for job in jobs:
        groups.setdefault(job.destination.get_client(), []).append(job)
    found: list[TejJobRun] = []
    for queue, some in groups.items():
        statuses = queue.statuses(job.job_id for job in some)
        for job in some:
            status = statuses[job.job_id]
            if status is None:
                raise tej.JobNotFound(f"No job '{job.job_id}'")
            if not status.state.final:
                found.append(job)
    return found
