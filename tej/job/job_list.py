"""`JobList`: a list of job statuses that prints as a table, in notebooks as HTML."""

from __future__ import annotations

from typing import Any, SupportsIndex, overload

from tej.job.status import JobStatus
from tej.job.table_columns import JobTable


class JobList(list[JobStatus]):
    """A list of the statuses of jobs; `str()`, IPython and notebooks show a table.

    A slice, such as `jobs[:5]`, is a `JobList`, too.
    """

    def __str__(self) -> str:
        return "\n".join(JobTable(self).lines()) if self else "No jobs"

    @overload
    def __getitem__(self, index: SupportsIndex) -> JobStatus: ...
    @overload
    def __getitem__(self, index: slice) -> JobList: ...
    def __getitem__(self, index: SupportsIndex | slice) -> JobStatus | JobList:
        if isinstance(index, slice):
            return JobList(super().__getitem__(index))
        return super().__getitem__(index)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: ANN401
        """Print the table at the prompt of IPython."""
        printer.text(str(self))

    def _repr_html_(self) -> str:
        return JobTable(self).as_html() if self else "No jobs"
