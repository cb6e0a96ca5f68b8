"""`TejJobEnded`: what a task that does not hold its worker waits for."""

from __future__ import annotations

from typing import Any

import luigi

from tej_luigi.config import Place
from tej_luigi.queues import find_queue
from tej_luigi.statuses import take_along


class TejJobEnded(luigi.ExternalTask):
    """That an attempt of a job has come to its end, well or not.

    A job that is gone has ended, too: whoever waits for it then finds that out.
    """

    job_id: Any = luigi.Parameter()
    attempt: Any = luigi.IntParameter()
    destination: Any = luigi.Parameter(description="without a password")
    queue: Any = luigi.Parameter()

    retry_count = 999_999_999
    """Not to have ended yet is no failure."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        take_along(self)

    @property
    def place(self) -> Place:
        """Where the job is."""
        return Place(self.destination, self.queue)

    def complete(self) -> bool:
        """Whether it has ended; raises tej.Error if that cannot be known."""
        statuses = find_queue(self.destination, self.queue).statuses
        status = statuses.get(self.job_id)
        if status is None:
            # Was that asked before the job was started?
            status = statuses.now(self.job_id)
        if status is None or status.attempt > self.attempt:
            return True
        return status.attempt == self.attempt and status.state.final
