"""`TejBatch`: many jobs in one worker slot, with one watcher."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import luigi

from tej.errors import ConnectionFailed, Error, JobAlreadyExists, JobFailed
from tej_luigi.config import tej
from tej_luigi.sweep import Sweep
from tej_luigi.task import TejTask
from tej_luigi.watching import Display, listening, lost

SHOWN = 5
"""Failed jobs whose errors are told in full."""


class TejBatch(luigi.Task):
    """Complete when all of its jobs are.

    What is done stays done when one fails: the next run finds it.
    """

    poll: float | None = None
    """As in the configuration: seconds between two looks at how far it is."""

    accepts_messages = True

    def jobs(self) -> Iterable[TejTask]:
        """The tasks whose jobs these are; they are not run by Luigi themselves."""
        raise NotImplementedError(f"{self.task_family} has to say what its jobs() are")

    def requires(self) -> Any:
        """What its jobs require."""
        required = (one for task in self.jobs() for one in task.deps())
        return list(dict.fromkeys(required))

    def output(self) -> list[Any]:
        """What its jobs give."""
        return [task.output() for task in self.jobs()]

    def complete(self) -> bool:
        """Whether all of its jobs are; raises tej.Error if that cannot be known."""
        try:
            tasks = list(self.jobs())
        except Exception:
            if any(not task.complete() for task in self.deps()):
                # They may be made of what is not there yet.
                return False
            raise
        return all(_is_complete(task) for task in tasks)

    def run(self) -> None:
        """Start what does not exist, wait for all, and fetch what is done.

        Raises JobFailed at the end, if some have not finished well.
        """
        sweep = Sweep(self.jobs())
        display = Display(self)
        poll = tej().poll if self.poll is None else self.poll
        sweep.start()
        with listening(self, sweep.kill):
            while sweep.pending:
                try:
                    display.message(sweep.describe())
                    display.progress(sweep.percent)
                    sweep.wait(poll)
                except ConnectionFailed as error:
                    display.message(lost(error, poll))
        display.message(sweep.describe())
        if sweep.errors:
            # Some may be of the task's own making: then it is seen where.
            raise JobFailed(_tell(sweep)) from next(iter(sweep.errors.values()))


def _is_complete(task: TejTask) -> bool:
    try:
        return task.complete()
    except Exception as error:
        # That it can be no job is told by `run`, which starts the others.
        if isinstance(error, JobAlreadyExists) or not _can_be_named(task):
            return False
        raise


def _can_be_named(task: TejTask) -> bool:
    try:
        return bool(task.job_id)
    except Exception:
        return False


def _tell(sweep: Sweep) -> str:
    shown = [f"{task}: {_words(error)}" for task, error in sweep.errors.items()]
    rest = len(shown) - SHOWN
    more = [f"... and {rest} more"] if rest > 0 else []
    head = (
        f"{len(shown)} of {sweep.total} tasks failed; what is done stays done, and is "
        "found by the next run"
    )
    return "\n\n".join([head, *shown[:SHOWN], *more])


def _words(error: Exception) -> str:
    """Those of other libraries may make no sense without what they are."""
    if isinstance(error, Error):
        return str(error)
    return f"{type(error).__name__}: {error}"
