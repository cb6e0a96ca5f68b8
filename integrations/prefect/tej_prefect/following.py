"""Waiting for jobs in a run: their ends, their output, and whether to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import tej
from tej_prefect.board import Board
from tej_prefect.custody import Custody, run_logger
from tej_prefect.output import Output

if TYPE_CHECKING:
    from tej_prefect.job import OnCancel
    from tej_prefect.job_run import TejJobRun

RETRY = 15.0
"""Seconds until a server that went away is tried again."""

Ended = tuple["TejJobRun", tej.JobStatus]


def follow(
    runs: Sequence[TejJobRun],
    *,
    on_cancel: OnCancel = "kill",
    timeout: float | None = None,
    stop: threading.Event | None = None,
    log_output: bool = True,
) -> list[Ended]:
    """Wait until these have ended, well or not; in the order in which they did.

    Raises WaitTimeout, JobNotFound, and FlowRunCancelled.
    """
    with Custody(on_cancel, stop) as custody:
        for run in runs:
            custody.add(run)
        return follow_in(custody, runs, timeout=timeout, log_output=log_output)


def follow_in(
    custody: Custody,
    runs: Sequence[TejJobRun],
    *,
    timeout: float | None = None,
    log_output: bool = True,
) -> list[Ended]:
    """The same, for jobs that somebody has in custody."""
    board = Board(custody.run, runs)
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

    ended: list[Ended] = []
    try:
        for run, status in _ends(runs, timeout, meanwhile):
            output = outputs.pop(run, None)
            if output is not None:
                output.read(last=True)
            custody.remove(run)
            board.ended(run, status)
            ended.append((run, status))
    finally:
        board.update(last=True)
    return ended


def _ends(
    runs: Sequence[TejJobRun],
    timeout: float | None,
    meanwhile: Callable[[], object],
) -> Iterator[Ended]:
    """In the order in which they end; handles on the same job one after the other.

    A server that was reached once is waited for as long as it takes.
    """
    handles: dict[tej.Job, list[TejJobRun]] = {}
    for run in runs:
        handles.setdefault(run.job, []).append(run)
    deadline = None if timeout is None else time.monotonic() + timeout
    while handles:
        meanwhile()
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        try:
            for job, status in tej.as_completed([*handles], left, meanwhile=meanwhile):
                for run in handles.pop(job):
                    yield run, status
        except (tej.AuthenticationFailed, tej.HostKeyRejected):
            raise
        except tej.ConnectionFailed as error:
            if not all(job.queue.transport.runs for job in handles):
                # It may be a name that is wrong.
                raise
            run_logger().warning("%s; still waiting", error)
            _pause(meanwhile)


def _pause(meanwhile: Callable[[], object]) -> None:
    until = time.monotonic() + RETRY
    while time.monotonic() < until:
        time.sleep(1)
        meanwhile()
