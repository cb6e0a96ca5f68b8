"""Progress bar of an upload or a download, at a terminal."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

from tej.errors import Error
from tej.job.escaping import escape_line

if TYPE_CHECKING:
    from rich.progress import Progress

    from tej.job.spec import JobSpec

SHOW_DELAY = 1.0
"""Number of seconds after which a progress bar appears."""


def size_of(spec: JobSpec) -> int | None:
    """Return the size of a job's files in bytes, for a progress bar.

    Returns None if the directory cannot be read.
    """
    # Slow modules are imported inside functions, so that `tej --help` is fast.
    from pathlib import Path

    from tej.job.directory import scan

    try:
        directory = Path(spec.directory)
        entries = scan(directory, everything=spec.everything, ignore=spec.ignore)
        return sum(entry.stat.st_size for entry in entries)
    except (Error, OSError):
        # No error is raised here, because the submission will report the same problem.
        return None


class TransferBar:
    """Progress bar of a transfer, which is shown if stderr is a terminal.

    Call the instance with the number of bytes of each piece that is transferred.  The
    bar appears if the transfer takes longer than SHOW_DELAY seconds.
    """

    def __init__(self, label: str, total: int | None = None) -> None:
        self._label = escape_line(label)
        self._total = total
        self.done = 0
        self._begun: float | None = None
        self._wanted = sys.stderr.isatty()
        self._bar: Progress | None = None

    def __call__(self, size: int) -> None:
        self.done += size
        # The timer starts at the first piece, so that the time to connect is not
        # counted.
        now = time.monotonic()
        self._begun = now if self._begun is None else self._begun
        if not self._wanted or now - self._begun < SHOW_DELAY:
            return
        if self._bar is None:
            self._bar = self._start()
        # The archive may exceed the size of the files: raise the total if necessary.
        total = self._total and max(self._total, self.done)
        self._bar.update(self._bar.task_ids[0], completed=self.done, total=total)

    def _start(self) -> Progress:
        from rich import progress
        from rich.console import Console

        bar = progress.Progress(
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(),
            progress.DownloadColumn(),
            progress.TransferSpeedColumn(),
            progress.TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        bar.add_task(self._label, total=self._total)
        bar.start()
        return bar

    def __enter__(self) -> TransferBar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
