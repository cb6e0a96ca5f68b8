"""Wait for a job until it has ended, and copy its output to the log of the run."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING

import tej
from tej_prefect.artifacts import JobArtifacts
from tej_prefect.cancellation import CancellationGuard
from tej_prefect.records import JobRecord

if TYPE_CHECKING:
    from logging import Logger, LoggerAdapter

STREAMS = {"_stdout": "stdout", "_stderr": "stderr"}
OUTPUT_LIMIT = 256 * 1024
"""Maximum number of bytes of one job's output in the log.

The output is limited because each log record is a row in Prefect's database.
"""
OUTPUT_PERIOD = 2.0
"""Seconds between two reads of one job's output."""
READERS = 2
"""Maximum number of channels of a queue that read output at the same time."""


def wait_for_one(
    record: JobRecord,
    *,
    timeout: float | None = None,
    stop: threading.Event | None = None,
    log_output: bool = True,
) -> tej.JobStatus:
    """Wait until a job has ended, and return its final status even if the job failed.

    Raises WaitTimeout after `timeout` seconds, JobNotFound if the job does not exist,
    and FlowRunCancelled if the flow run is cancelled.
    """
    queue = record.destination.get_client()
    with CancellationGuard(stop) as guard:
        status = None
        if guard.run.flow_run_id is not None:
            status = _read_status(queue, record.job_id)
        guard.add({record: status})
        artifacts = JobArtifacts(guard.run)
        artifacts.add({record: status})
        outputs = Outputs(guard)
        if log_output:
            outputs.add([record])

        def on_tick() -> None:
            guard.check()
            artifacts.update()
            outputs.read()

        ids = [record.job_id]
        try:
            for _, end in queue.as_completed(ids, timeout, on_tick=on_tick):
                status = end
                outputs.finish(record)
                artifacts.set_end(record, end)
        finally:
            artifacts.update(last=True)
    assert status is not None
    return status


def _read_status(queue: tej.RemoteQueue, job_id: str) -> tej.JobStatus | None:
    try:
        return queue.statuses([job_id])[job_id]
    except tej.QueueDoesntExist:
        return None
    except tej.ConnectionFailed:
        if not queue.transport.runs:
            # The address may be wrong, because the server was never reached.
            raise
        return None


class Outputs:
    """Copies the output of several jobs to the log of the guard's run."""

    def __init__(self, guard: CancellationGuard) -> None:
        self._guard = guard
        self._outputs: dict[JobRecord, JobOutput] = {}

    def add(self, records: Iterable[JobRecord], *, with_names: bool = False) -> None:
        """Add jobs whose output is copied to the log."""
        for record in records:
            prefix = f"{record.name}: " if with_names else ""
            output = JobOutput(record.job, self._guard.logger, prefix)
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
    """The log contains `OUTPUT_LIMIT` bytes of the job's output already."""


class JobOutput:
    """Copies one job's output to a log, up to `OUTPUT_LIMIT` bytes.

    A semaphore of the queue ensures that at most `READERS` channels read output at the
    same time, for any number of jobs and waiting threads.
    """

    def __init__(
        self, job: tej.Job, logger: Logger | LoggerAdapter[Logger], prefix: str = ""
    ) -> None:
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

        def take(piece: object) -> None:
            data = piece.data[: self._left]  # type: ignore[attr-defined]
            new[piece.name].append(data)  # type: ignore[attr-defined]
            self._left -= len(data)
            if not self._left:
                raise _LimitReached

        try:
            self._logs.read(take)
        except _LimitReached:
            last = True
        except tej.Error as error:
            # The request that waits for the job reports the same error.
            self._logger.debug("The job's output was not read: %s", error)
        finally:
            self._turn.release()
        self._due = time.monotonic() + OUTPUT_PERIOD
        for name, pieces in new.items():
            self._log(name, b"".join(pieces), last=last)
        if not self._left:
            self._logger.warning(
                "%sThe log shows only the first %d KB of the output; the results have "
                "all of it",
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
