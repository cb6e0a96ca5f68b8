"""`TejBatch`: runs many jobs in one Luigi worker slot, and polls them together."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any

import luigi

import tej
from tej import Batch, JobAlreadyExists, JobFailed
from tej_luigi.display import Display
from tej_luigi.failure_groups import describe_failures
from tej_luigi.run import JobRun
from tej_luigi.status_cache import cached_statuses
from tej_luigi.task import TejTask


class TejBatch(luigi.Task):
    """Luigi task that runs the jobs of several tasks.

    The batch is complete if all of its jobs have succeeded.  If one job fails, the
    other jobs continue to run.
    """

    @property
    def poll(self) -> float | None:
        """Seconds between two updates of the status message.

        If the value is None, the setting `poll` of the configuration is used.
        """
        return None

    accepts_messages = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        tej.share_with_children()

    def jobs(self) -> Iterable[TejTask]:
        """Return the tasks whose jobs the batch runs; Luigi does not run these
        tasks."""
        raise NotImplementedError(f"{self.task_family} has to define jobs()")

    def requires(self) -> Any:
        """Return the requirements of all tasks in the batch."""
        required = (one for task in self.jobs() for one in task.deps())
        return list(dict.fromkeys(required))

    def output(self) -> list[Any]:
        """Return the outputs of all tasks in the batch, in the order of `jobs()`."""
        return [task.output() for task in self.jobs()]

    def complete(self) -> bool:
        """Return whether all jobs have succeeded.

        Raises tej.Error if the server does not reply.
        """
        with cached_statuses(self):
            try:
                tasks = list(self.jobs())
            except Exception:
                if any(not task.complete() for task in self.deps()):
                    # jobs() may have failed because it reads the output of a required
                    # task that is not complete yet.
                    return False
                raise
            return all(_is_complete(task) for task in tasks)

    def run(self) -> Generator[Any, Any, None]:
        """Start the jobs that do not exist, wait for all jobs, and fetch the results.

        If jobs fail, raises JobFailed with a report of all failures after all jobs have
        ended.  The returned generator is empty, as in `TejTask.run`.
        """
        tasks = list(self.jobs())
        for task in tasks:
            task.check_settings()
        run = JobRun(self, tasks, self.poll, _show)
        run.run()
        if run.errors:
            # `raise ... from` adds the traceback of the first error, which helps if the
            # code of a task is wrong.
            raise JobFailed(describe_failures(run)) from next(iter(run.errors.values()))
        return (_ for _ in ())


def _show(display: Display, batch: Batch) -> None:
    counts = batch.count_states()
    words = [f"{number} {state}" for state, number in counts.items() if number]
    total = len(batch.results)
    display.message(f"{total} jobs: {', '.join(words) or 'none yet'}")
    display.progress(100 * (counts["done"] + counts["failed"]) // max(1, total))


def _is_complete(task: TejTask) -> bool:
    try:
        return task.complete()
    except Exception as error:
        # Return False for an invalid task, so that Luigi calls run(), which starts the
        # jobs of all other tasks and reports the error.
        if isinstance(error, JobAlreadyExists) or not _has_id(task):
            return False
        raise


def _has_id(task: TejTask) -> bool:
    try:
        return bool(task.job_id)
    except Exception:
        return False
