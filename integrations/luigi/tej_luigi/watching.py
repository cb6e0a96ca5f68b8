"""A running job as Luigi sees it: what it says, how far it is, and a way to end it."""

from __future__ import annotations

import contextlib
import logging
import queue as queues
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import luigi

from tej.errors import (
    AuthenticationFailed,
    ConnectionFailed,
    Error,
    HostKeyRejected,
)
from tej.job.status import JobStatus, format_duration

if TYPE_CHECKING:
    from tej.queue import RemoteQueue

logger = logging.getLogger("luigi-interface")

KILL = "kill"
"""The message of the scheduler's that ends the jobs of a task."""
LINE = 200
"""Characters of its output that are shown."""
LONGEST_PAUSE = 30.0
"""Seconds between two tries to reach a server that was there."""
LISTENED = 0.2
"""Seconds until a thread that listens for messages sees that it is not needed."""

# The last line of its output, and of its file `progress`.
LOOK = """
cd -- "$1" 2>/dev/null || exit 0
tail -n 1 _stdout 2>/dev/null | tail -c 4000 | tr -d '\\000'
printf '\\0'
tail -n 1 progress 2>/dev/null | tail -c 100 | tr -d '\\000'
"""
# Luigi's web page takes a message for HTML once it is updated.
_HARMLESS = str.maketrans({"<": "\u2039", ">": "\u203a"})
_PROGRESS = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:/\s*(\d+(?:\.\d+)?)|%)?\s*\Z")


def describe(status: JobStatus, line: str = "") -> str:
    """State, where, how long, and its last words."""
    words = str(status.state)
    if status.host:
        words += f" on {status.host}"
    if status.native_id:
        words += f" ({status.runtime or 'job'} {status.native_id})"
    if status.duration is not None:
        words += f" for {format_duration(status.duration)}"
    text = f"{words}: {status.job_id}"
    return f"{text}\n{line[-LINE:]}" if line else text


def lost(error: ConnectionFailed, seconds: float) -> str:
    """What is said while there is no connection.  Pauses before the next try.

    Raises the error if no patience can mend it.
    """
    if isinstance(error, AuthenticationFailed | HostKeyRejected):
        raise error
    logger.warning("%s; the jobs go on, and so does the wait for them", error)
    time.sleep(min(seconds, LONGEST_PAUSE))
    return f"No connection, still waiting: {error}"


def parse_progress(text: str) -> int | None:
    """Percent, from `42`, `42.5%` or `21/50`; None for anything else."""
    match = _PROGRESS.match(text)
    if match is None:
        return None
    value = float(match[1])
    if match[2] is not None:
        if float(match[2]) == 0:
            return None
        value = 100 * value / float(match[2])
    return min(100, int(value))


class Display:
    """What Luigi shows of a task while it runs; nothing if nobody runs it."""

    def __init__(self, task: luigi.Task, tracking_url: str | None = None) -> None:
        self._message: Callable[[str], Any] | None
        self._message = getattr(task, "set_status_message", None)
        self._progress = getattr(task, "set_progress_percentage", None)
        self._url = getattr(task, "set_tracking_url", None)
        self._template = tracking_url
        self._shown_url: str | None = None

    def message(self, text: str) -> None:
        """The task's status message."""
        self._call(self._message, text.translate(_HARMLESS))

    def progress(self, percent: int | None) -> None:
        """How much of it is done, if that is known."""
        if percent is not None:
            self._call(self._progress, percent)

    def job(self, status: JobStatus, queue: RemoteQueue, when: str = "") -> None:
        """All that can be seen of a job that has not ended."""
        line, progress = look(queue, status)
        self.message(when + describe(status, line))
        self.progress(parse_progress(progress))
        if self._template:
            url = self._template.format(
                job_id=status.job_id,
                native_id=status.native_id or "",
                host=status.host or "",
                queue=queue.queue,
            )
            if url != self._shown_url:
                self._call(self._url, url)
                self._shown_url = url

    def _call(self, function: Callable[[Any], Any] | None, value: object) -> None:
        if function is None:
            return
        try:
            function(value)
        except Exception as error:
            # The scheduler may be away; the job is not, and neither is the task.
            logger.warning("The scheduler could not be told: %s", error)


def look(queue: RemoteQueue, status: JobStatus) -> tuple[str, str]:
    """The last line a job printed, and that of its file `progress`."""
    try:
        seen = queue.shell(LOOK, str(status.directory), again=True)
    except Error as error:
        logger.info("The output of job '%s' cannot be seen: %s", status.job_id, error)
        return "", ""
    line, _, progress = seen.decode("utf-8", "replace").partition("\0")
    return line.strip(), progress.strip()


@contextlib.contextmanager
def listening(task: luigi.Task, kill: Callable[[], object]) -> Iterator[None]:
    """Within, the scheduler's message "kill" calls `kill`."""
    messages = getattr(task, "scheduler_messages", None)
    if messages is None:
        yield
        return
    over = threading.Event()

    def listen() -> None:
        while not over.is_set():
            try:
                message = messages.get(timeout=LISTENED)
            except queues.Empty:
                continue
            except (EOFError, OSError, ValueError):
                return
            answer(message)

    def answer(message: Any) -> None:
        words = "Killed"
        if str(message).strip().lower() != KILL:
            words = f"Only '{KILL}' is understood"
        else:
            try:
                kill()
            except Exception as error:
                words = f"It could not be killed: {error}"
                logger.warning("The scheduler's '%s': %s", KILL, words)
        # The scheduler may be away.
        with contextlib.suppress(Exception):
            message.respond(words)

    thread = threading.Thread(target=listen, name="tej messages", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
