"""Waiting for jobs in a run: their ends, their output, and whether to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import tej
from tej_prefect.board import Board
from tej_prefect.custody import Custody, run_logger
from tej_prefect.output import Output

if TYPE_CHECKING:
    from tej_prefect.job_run import TejJobRun

RETRY = 15.0
"""Seconds until a server that went away is tried again."""

End = tej.JobStatus | tej.Error
"""How a job has ended; or that it is gone, with the queue or alone."""


def follow(
    run: TejJobRun,
    *,
    timeout: float | None = None,
    stop: threading.Event | None = None,
    log_output: bool = True,
) -> tej.JobStatus:
    """Wait until it has ended, well or not.

    Raises WaitTimeout, JobNotFound, and FlowRunCancelled.
    """
    with Custody(stop) as custody:
        custody.add(run)
        board = Board(custody.run)
        board.add({run: None})
        ends = follow_in(custody, [run], board, timeout=timeout, log_output=log_output)
    end = ends[run]
    if isinstance(end, tej.Error):
        raise end
    return end


def follow_in(
    custody: Custody,
    runs: Sequence[TejJobRun],
    board: Board,
    *,
    timeout: float | None = None,
    log_output: bool = True,
) -> dict[TejJobRun, End]:
    """How these have ended, which somebody has in custody and on a board.

    Raises WaitTimeout and FlowRunCancelled.
    """
    board.begin()
    outputs: dict[TejJobRun, Output] = {}
    if log_output:
        for run in runs:
            prefix = f"{run.name}: " if len(runs) > 1 else ""
            outputs[run] = Output(run.job, custody.logger, prefix)

    def meanwhile() -> None:
        custody.check()
        board.update()
        begun = time.monotonic()
        for run in [*outputs]:
            outputs[run].read()
            # The others' turn comes.
            outputs[run] = outputs.pop(run)
            if time.monotonic() - begun > 1:
                return

    ends: dict[TejJobRun, End] = {}
    try:
        for run, end in _ends(runs, timeout, meanwhile):
            output = outputs.pop(run, None)
            if output is not None:
                output.read(last=True)
            custody.remove(run)
            board.ended(run, end)
            ends[run] = end
    finally:
        board.update(last=True)
    return ends


def _ends(
    runs: Sequence[TejJobRun],
    timeout: float | None,
    meanwhile: Callable[[], object],
) -> Iterator[tuple[TejJobRun, End]]:
    """In the order in which they end; handles on the same job one after the other.

    A server that was reached once is waited for as long as it takes.
    """
    handles: dict[tej.Job, list[TejJobRun]] = {}
    for run in runs:
        handles.setdefault(run.job, []).append(run)
    deadline = None if timeout is None else time.monotonic() + timeout
    missing = False
    while handles:
        meanwhile()
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        try:
            for job, error in _gone(handles).items() if missing else ():
                for run in handles.pop(job):
                    yield run, error
            missing = False
            for job, status in tej.as_completed([*handles], left, on_tick=meanwhile):
                for run in handles.pop(job):
                    yield run, status
        except (tej.JobNotFound, tej.QueueDoesntExist):
            # It does not say which, and the others go on.
            missing = True
        except (tej.AuthenticationFailed, tej.HostKeyRejected):
            raise
        except tej.ConnectionFailed as error:
            if not all(job.queue.transport.runs for job in handles):
                # It may be a name that is wrong.
                raise
            run_logger().warning("%s; still waiting", error)
            _pause(meanwhile)


def _gone(jobs: Iterable[tej.Job]) -> dict[tej.Job, tej.Error]:
    """Those that are not there any more: one round trip for each queue."""
    groups: dict[tej.RemoteQueue, list[tej.Job]] = {}
    for job in jobs:
        groups.setdefault(job.queue, []).append(job)
    gone: dict[tej.Job, tej.Error] = {}
    for queue, some in groups.items():
        try:
            statuses = queue.statuses(job.id for job in some)
        except tej.QueueDoesntExist as error:
            gone |= dict.fromkeys(some, error)
            continue
        gone |= {
            job: tej.JobNotFound(f"Job '{job.id}' was deleted before it had ended")
            for job in some
            if statuses[job.id] is None
        }
    return gone


def _pause(meanwhile: Callable[[], object]) -> None:
    until = time.monotonic() + RETRY
    while time.monotonic() < until:
        time.sleep(1)
        meanwhile()
