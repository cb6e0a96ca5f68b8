"""Output of jobs in the log of a flow run: all output of a running job, up to a limit,
or the last lines of a job that has ended."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING

import tej
from tej_prefect.job_result import JobRecord

if TYPE_CHECKING:
    from tej_prefect.context import AnyLogger

STREAMS = {"_stdout": "stdout", "_stderr": "stderr"}
OUTPUT_LIMIT = 256 * 1024
"""Maximum number of bytes of one job's output in the log.

The output is limited because each log record is a row in Prefect's database.
"""
LAST_LINES = 30
"""Number of lines of each stream that `last_lines` returns."""
OUTPUT_PERIOD = 2.0
"""Seconds between two reads of one job's output."""
READERS = 2
"""Maximum number of SSH channels per queue that read output at the same time."""


def last_lines(job: tej.Job, logger: AnyLogger) -> list[tuple[str, str]]:
    """Return the name and the last lines of each stream that is not empty.

    An error of the request is logged, and ends the list.
    """
    found: list[tuple[str, str]] = []
    for stream in STREAMS.values():
        try:
            data = b"".join(job.logs(stream, tail=LAST_LINES))
        except tej.Error as error:
            logger.warning("The job's output could not be read: %s", error)
            break
        if text := data.decode("utf-8", "replace").strip():
            found.append((stream, text))
    return found


class Outputs:
    """Copies the output of several jobs to one log."""

    def __init__(self, logger: AnyLogger) -> None:
        self._logger = logger
        self._outputs: dict[JobRecord, JobOutput] = {}

    def add(self, records: Iterable[JobRecord], *, with_names: bool = False) -> None:
        """Add jobs whose output is copied to the log."""
        for record in records:
            prefix = f"{record.name}: " if with_names else ""
            output = JobOutput(record.job, self._logger, prefix)
            self._outputs[record] = output

    def read(self) -> None:
        """Log the new output of jobs until about a second has passed."""
        begun = time.monotonic()
        for record in [*self._outputs]:
            self._outputs[record].read()
            # Move the job to the end, so that the next call starts with the jobs whose
            # output this call did not read.
            self._outputs[record] = self._outputs.pop(record)
            if time.monotonic() - begun > 1:
                return

    def finish(self, record: JobRecord) -> None:
        """Log the rest of the output of a job that has ended."""
        output = self._outputs.pop(record, None)
        if output is not None:
            output.read(last=True)


_turns: weakref.WeakKeyDictionary[tej.RemoteQueue, threading.Semaphore]
_turns = weakref.WeakKeyDictionary()
_turns_lock = threading.Lock()


class _LimitReached(Exception):
    """Raised when the log contains `OUTPUT_LIMIT` bytes of the job's output."""


class JobOutput:
    """Copies one job's output to a log, up to `OUTPUT_LIMIT` bytes.

    A semaphore of the queue ensures that at most `READERS` channels read output at the
    same time, for any number of jobs and waiting threads.
    """

    def __init__(self, job: tej.Job, logger: AnyLogger, prefix: str = "") -> None:
        self._logs = job.queue.read_logs(job.id, STREAMS)
        with _turns_lock:
            self._turn = _turns.setdefault(job.queue, threading.Semaphore(READERS))
        self._logger = logger
        self._prefix = prefix
        self._incomplete = dict.fromkeys(STREAMS, b"")
        self._left = OUTPUT_LIMIT
        self._due = 0.0

    def read(self, *, last: bool = False) -> None:
        """Log the new output of the job if the queue's semaphore is free.

        If `last` is true, the method waits for the semaphore, and also logs a last line
        without a line end.
        """
        if not self._left or (time.monotonic() < self._due and not last):
            return
        if not self._turn.acquire(blocking=last):
            return
        new: dict[str, list[bytes]] = {name: [] for name in STREAMS}

        def take(piece: tej.Piece) -> None:
            data = piece.data[: self._left]
            new[piece.name].append(data)
            self._left -= len(data)
            if not self._left:
                raise _LimitReached

        try:
            self._logs.read(take)
        except _LimitReached:
            last = True
        except tej.Error as error:
            # This error is only logged, because the request that waits for the job
            # reports the same error.
            self._logger.debug("The job's output could not be read: %s", error)
        finally:
            self._turn.release()
        self._due = time.monotonic() + OUTPUT_PERIOD
        for name, pieces in new.items():
            self._log(name, b"".join(pieces), last=last)
        if not self._left:
            self._logger.warning(
                "%sThe log shows only the first %d KB of the output; the results "
                "contain the complete output",
                self._prefix,
                OUTPUT_LIMIT // 1024,
            )

    def _log(self, name: str, data: bytes, *, last: bool) -> None:
        lines, newline, rest = (self._incomplete[name] + data).rpartition(b"\n")
        if last:
            lines, newline, rest = lines + newline + rest, b"\n", b""
        self._incomplete[name] = rest
        text = lines.decode("utf-8", "replace").rstrip("\n")
        if newline and text:
            stream = "" if name == "_stdout" else f"{STREAMS[name]}: "
            self._logger.info("%s%s%s", self._prefix, stream, text)
