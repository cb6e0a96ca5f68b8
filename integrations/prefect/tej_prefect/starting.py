"""How jobs come to be: started if they do not exist, found if they do."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import tej
from tej_prefect.context import current_run

if TYPE_CHECKING:
    from tej_prefect.custody import Custody
    from tej_prefect.job import TejJob
    from tej_prefect.job_run import TejJobRun

TOGETHER = 100
"""Jobs whose directories are made, and sent, at a time."""


def start(
    jobs: Sequence[TejJob],
    *,
    custody: Custody | None = None,
    retry_failed: bool | None = None,
) -> list[TejJobRun]:
    """A handle on each of the jobs, in order; they are sent many at a time.

    One that failed or is lost is started again if `retry_failed` (by default, what the
    job says).  One that was killed, too, unless this is the retry of a task run:
    whoever cancels a flow run, and then runs the flow anew, wants its jobs.

    Raises the first tej.Error there is; others may have been started.
    """
    runs: list[TejJobRun] = []

    def alike(job: TejJob) -> tuple[str, bool]:
        return job.destination.place, _retries(job, retry_failed)

    for (_, retry), group in groupby(jobs, key=alike):
        some = list(group)
        for begin in range(0, len(some), TOGETHER):
            if custody is not None:
                custody.check()
            runs += _start_some(some[begin : begin + TOGETHER], custody, retry)
    return runs


def _start_some(
    jobs: Sequence[TejJob], custody: Custody | None, retry: bool
) -> list[TejJobRun]:
    queue = jobs[0].destination.get_client()
    if custody is not None:
        custody.submitting = queue
    with contextlib.ExitStack() as stack:
        specs = [stack.enter_context(job.spec()) for job in jobs]
        outcomes = [*queue.ensure_many(specs, retry=retry)]
        killed = [
            number
            for number, one in enumerate(outcomes)
            if one.status is not None
            and not one.is_new
            and one.status.state is tej.JobState.KILLED
        ]
        if killed and current_run().attempt == 1:
            again = queue.ensure_many([specs[number] for number in killed], retry=True)
            for number, outcome in zip(killed, again, strict=True):
                outcomes[number] = outcome
    runs: list[TejJobRun] = []
    error: tej.Error | None = None
    for job, outcome in zip(jobs, outcomes, strict=True):
        if outcome.error is not None:
            error = error or outcome.error
            continue
        run = job.handle(outcome.job_id, found=not outcome.is_new)
        runs.append(run)
        if custody is not None:
            custody.add(run)
    if custody is not None:
        custody.submitting = None
    if error is not None:
        raise error
    return runs


def _retries(job: TejJob, retry_failed: bool | None) -> bool:
    return job.retry_failed if retry_failed is None else retry_failed
