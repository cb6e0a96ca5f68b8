"""Display of a running task in Luigi, and messages from Luigi's scheduler.

The display consists of a status message, a progress bar and a tracking URL.
"""

from __future__ import annotations

import contextlib
import logging
import queue as queues
import re
from collections.abc import Callable

import luigi

from tej import Error, JobStatus, RemoteQueue, format_duration

logger = logging.getLogger("luigi-interface")

KILL = "kill"
"""Message that users send from the scheduler's web page to kill the jobs of a task."""
LINE = 200
"""Maximum number of characters of a job's output line in the status message."""

# Print the last line of the job's output, a NUL, and the last line of the job's file
# `progress`.
LAST_LINES = """
cd -- "$1" 2>/dev/null || exit 0
tail -n 1 _stdout 2>/dev/null | tail -c 4000 | tr -d '\\000'
printf '\\0'
tail -n 1 progress 2>/dev/null | tail -c 100 | tr -d '\\000'
"""
# Angle brackets are replaced because Luigi's web page inserts the message as HTML.
_NO_HTML = str.maketrans({"<": "\u2039", ">": "\u203a"})
_PROGRESS = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:/\s*(\d+(?:\.\d+)?)|%)?\s*\Z")


def describe(status: JobStatus, line: str = "") -> str:
    """Return a status message from a job's status and its last output line."""
    words = str(status.state)
    if status.host:
        words += f" on {status.host}"
    if status.native_id:
        words += f" ({status.runtime or 'job'} {status.native_id})"
    if status.duration is not None:
        words += f" for {format_duration(status.duration)}"
    text = f"{words}: {status.job_id}"
    return f"{text}\n{line[-LINE:]}" if line else text


def parse_progress(text: str) -> int | None:
    """Return the percentage in a string such as `42`, `42.5%` or `21/50`.

    Return None if the text has another form.
    """
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
    """Shows a running task in Luigi; does nothing if no Luigi worker runs the task."""

    def __init__(self, task: luigi.Task) -> None:
        self._task = task
        self._shown_url: str | None = None
        self._messages = getattr(task, "scheduler_messages", None)

    def receive_messages(self, kill: Callable[[], object]) -> None:
        """Reply to the scheduler's messages; call `kill` if a message is "kill"."""
        while self._messages is not None:
            try:
                message = self._messages.get_nowait()
            except (queues.Empty, EOFError, OSError, ValueError):
                return
            words = "Killed"
            if str(message).strip().lower() != KILL:
                words = f"Unknown message; send '{KILL}' to kill the jobs"
            else:
                try:
                    kill()
                except Exception as error:
                    words = f"Cannot kill the job: {error}"
                    logger.warning("Scheduler message '%s': %s", KILL, words)
            # Ignore errors: if the scheduler is unreachable, only the reply is lost,
            # and the task continues.
            with contextlib.suppress(Exception):
                message.respond(words)

    def message(self, text: str) -> None:
        """Set the status message."""
        self._call("set_status_message", text.translate(_NO_HTML))

    def progress(self, percent: int | None) -> None:
        """Set the progress bar; do nothing if `percent` is None."""
        if percent is not None:
            self._call("set_progress_percentage", percent)

    def job(
        self, status: JobStatus, queue: RemoteQueue, tracking_url: str | None = None
    ) -> None:
        """Show the status, output, progress and tracking URL of a job."""
        line, progress = read_last_lines(queue, status)
        self.message(describe(status, line))
        self.progress(parse_progress(progress))
        if tracking_url:
            url = tracking_url.format(
                job_id=status.job_id,
                native_id=status.native_id or "",
                host=status.host or "",
                queue=queue.queue,
            )
            if url != self._shown_url:
                self._call("set_tracking_url", url)
                self._shown_url = url

    def _call(self, method: str, value: object) -> None:
        # Luigi sets these methods of the task to None after the task has run, so
        # `report` may be None.
        report = getattr(self._task, method, None)
        if report is None:
            return
        try:
            report(value)
        except Exception as error:
            # The error is only logged, because the task must continue to wait for its
            # job while Luigi's scheduler is unreachable.
            logger.warning("Cannot update the task in the scheduler: %s", error)


def read_last_lines(queue: RemoteQueue, status: JobStatus) -> tuple[str, str]:
    """Return the last lines of the job's output and of its file `progress`."""
    try:
        seen = queue.shell(LAST_LINES, str(status.directory), again=True)
    except Error as error:
        logger.info("Cannot read the output of job '%s': %s", status.job_id, error)
        return "", ""
    line, _, progress = seen.decode("utf-8", "replace").partition("\0")
    return line.strip(), progress.strip()
