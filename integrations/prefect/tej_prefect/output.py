"""The output of jobs in the run's log, as it comes, up to a limit.

The jobs of a queue take turns, so that two channels at most read output, however many
there are and however many threads wait for them.
"""

from __future__ import annotations

import threading
import time
import weakref
from typing import TYPE_CHECKING

import tej

if TYPE_CHECKING:
    from logging import Logger, LoggerAdapter

STREAMS = {"_stdout": "stdout", "_stderr": "stderr"}
LIMIT = 256 * 1024
"""Bytes of one job that the log takes: each record is a row in Prefect's database."""
PERIOD = 2.0
"""Seconds between two looks at one job's output."""
READERS = 2

_turns: weakref.WeakKeyDictionary[tej.RemoteQueue, threading.Semaphore]
_turns = weakref.WeakKeyDictionary()
_lock = threading.Lock()


class _Full(Exception):
    """The limit is reached."""


class Output:
    """What one job prints, on its way to a log."""

    def __init__(
        self, job: tej.Job, logger: Logger | LoggerAdapter[Logger], prefix: str = ""
    ) -> None:
        self._logs = job.queue.read_logs(job.id, STREAMS)
        with _lock:
            self._turn = _turns.setdefault(job.queue, threading.Semaphore(READERS))
        self._logger = logger
        self._prefix = prefix
        self._unfinished = dict.fromkeys(STREAMS, b"")
        self._left = LIMIT
        self._due = 0.0

    def read(self, *, last: bool = False) -> None:
        """Log what is new; if it is not this job's turn, nothing.  `last` waits for the
        turn, and takes what has no end of line, too."""
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
                raise _Full

        try:
            self._logs.read(take)
        except _Full:
            last = True
        except tej.Error as error:
            # The wait tells what has become of the job.
            self._logger.debug("Output of the job: %s", error)
        finally:
            self._turn.release()
        self._due = time.monotonic() + PERIOD
        for name, pieces in new.items():
            self._log(name, b"".join(pieces), last=last)
        if not self._left:
            self._logger.warning(
                "%sMore output is not shown here; it is in the results", self._prefix
            )

    def _log(self, name: str, data: bytes, *, last: bool) -> None:
        lines, newline, rest = (self._unfinished[name] + data).rpartition(b"\n")
        if last:
            lines, newline, rest = lines + newline + rest, b"\n", b""
        self._unfinished[name] = rest
        text = lines.decode("utf-8", "replace").rstrip("\n")
        if newline and text:
            stream = "" if name == "_stdout" else f"{STREAMS[name]}: "
            self._logger.info("%s%s%s", self._prefix, stream, text)
