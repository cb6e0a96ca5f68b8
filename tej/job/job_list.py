"""`JobList`: a list of job statuses that prints as a table, also in a notebook."""

from __future__ import annotations

from tej.job.status import JobStatus
from tej.job.table import JobTable


class JobList(list[JobStatus]):
    """A list of the statuses of jobs; `str()` and notebooks show a table."""

    def __str__(self) -> str:
        return "\n".join(JobTable(self).lines()) if self else "No jobs"

    def _repr_html_(self) -> str:
        return JobTable(self).as_html() if self else "No jobs"
