"""How jobs come to be: started if they do not exist, found if they do."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import tej
from tej.queue.submission import Outcome
from tej_prefect.board import Board
from tej_prefect.context import current_run
from tej_prefect.custody import Custody

if TYPE_CHECKING:
    from tej_prefect.job import OnCancel, TejJob
    from tej_prefect.job_run import TejJobRun

TOGETHER = 100
"""Jobs whose directories are made, and sent, at a time."""


def start(job: TejJob, custody: Custody, board: Board) -> TejJobRun:
    """A handle on one job; see `start_many`.  Raises the tej.Error that it meets."""
    (run,) = start_many([job], custody, board)
    if isinstance(run, tej.Error):
        raise run
    run.announce()
    return run


def start_many(
    jobs: Sequence[TejJob], custody: Custody, board: Board
) -> list[TejJobRun | tej.Error]:
    """A handle on each of the jobs, in order; they are sent many at a time.

    One that failed or is lost is started again if the job says so (`retry_failed`).
    One that was killed, too, unless this is a retry: whoever cancels a flow run, and
    then runs the flow anew, wants its jobs.

    What is wrong with one job is in its place, and keeps no other back.  Raises
    tej.Error if a place cannot be reached or used.
    """
    runs: list[TejJobRun | tej.Error] = []

    def alike(job: TejJob) -> tuple[str, bool, OnCancel]:
        return job.destination.place, job.retry_failed, job.on_cancel

    for _, group in groupby(jobs, key=alike):
        some = list(group)
        for begin in range(0, len(some), TOGETHER):
            custody.check()
            runs += _start_some(some[begin : begin + TOGETHER], custody, board)
    return runs


def _start_some(
    jobs: Sequence[TejJob], custody: Custody, board: Board
) -> list[TejJobRun | tej.Error]:
    """For jobs at one place, of which the same is wanted."""
    queue = jobs[0].destination.get_client()
    if jobs[0].on_cancel == "kill":
        custody.submitting = jobs[0].destination
    outcomes = _ensure(queue, jobs)
    runs: list[TejJobRun | tej.Error] = []
    known: dict[TejJobRun, tej.JobStatus | None] = {}
    for job, outcome in zip(jobs, outcomes, strict=True):
        if outcome.error is not None:
            runs.append(outcome.error)
            custody.logger.error("Job %s is not started: %s", job.title, outcome.error)
            continue
        run = job.handle(outcome.job_id, found=not outcome.is_new)
        runs.append(run)
        known[run] = outcome.status
        custody.add(run)
    custody.submitting = None
    # Before the next are sent, which may take long: others may cancel meanwhile.
    board.add(known)
    return runs


def _ensure(queue: tej.RemoteQueue, jobs: Sequence[TejJob]) -> list[Outcome]:
    outcomes: dict[int, Outcome] = {}
    specs: dict[int, tej.JobSpec] = {}

    def ensure(numbers: Sequence[int], *, retry: bool) -> None:
        some = [specs[number] for number in numbers]
        found = queue.ensure_many(some, retry=retry)
        outcomes.update(zip(numbers, found, strict=True))

    with contextlib.ExitStack() as stack:
        for number, job in enumerate(jobs):
            try:
                specs[number] = stack.enter_context(job.spec())
            except (tej.InvalidJobDirectory, tej.InvalidJobId, OSError) as error:
                outcomes[number] = Outcome("", error=_as_fault(error))
        ensure([*specs], retry=jobs[0].retry_failed)
        if current_run().attempt == 1:
            ensure([one for one in specs if _was_killed(outcomes[one])], retry=True)
    return [outcomes[number] for number in range(len(jobs))]


def _was_killed(outcome: Outcome) -> bool:
    return (
        outcome.error is None
        and not outcome.is_new
        and outcome.status is not None
        and outcome.status.state is tej.JobState.KILLED
    )


def _as_fault(error: Exception) -> tej.Error:
    return (
        error if isinstance(error, tej.Error) else tej.InvalidJobDirectory(f"{error}")
    )
