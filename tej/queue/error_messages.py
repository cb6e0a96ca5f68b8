"""Error messages about a queue or a job, with the path of the queue and advice.

`explain` extends a message that the server has sent (`server/commands/`).
"""

from __future__ import annotations

import shlex
import time

from tej.errors import (
    Error,
    JobAlreadyExists,
    JobNotFound,
    QueueNotFound,
    RemoteCommandFailure,
)
from tej.queue.default_queue import DEFAULT_TEJ_DIR
from tej.wire.replies import NO_QUEUE


def job_not_found(job_id: str, path: str, destination: str) -> JobNotFound:
    """Return the error for a job id that is not in the queue `path`.

    The first line of the error message is the same as in tej 0.6.
    """
    return JobNotFound(f"No job '{job_id}'\n{_where_to_look(path, destination)}")


def missing_queue(
    last_seen: float, path: str, destination: str
) -> RemoteCommandFailure:
    """Return the error for a queue that has vanished since the time `last_seen`."""
    # The message contains the date, because a worker process may run for days.
    last_time = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(last_seen))
    return RemoteCommandFailure(
        f"Queue '{path}' on '{destination}' existed at {last_time}, and is missing "
        "now: is its file system mounted? If the queue was removed, create a new queue "
        f"with `tej setup {destination}{_queue_option(path)}` (or `RemoteQueue.setup`)",
        ret=NO_QUEUE,
    )


def explain(error: Error, path: str, destination: str) -> Error:
    """Return `error` with the queue's path and advice added to its message.

    Only JobNotFound, JobAlreadyExists and QueueNotFound are extended; any other
    error is returned unchanged.
    """
    message = str(error)
    if "\n" in message:
        return error
    if isinstance(error, QueueNotFound):
        return QueueNotFound(
            f"{message} on '{destination}'; the first `tej run` or `tej submit` "
            "creates the queue"
        )
    if isinstance(error, JobNotFound):
        return JobNotFound(f"{message}\n{_where_to_look(path, destination)}")
    if isinstance(error, JobAlreadyExists):
        return JobAlreadyExists(
            f"{message}\nIt is in queue '{path}' on '{destination}'; choose another "
            "id, use --reuse (`ensure`) to get that job, or delete it"
        )
    return error


def _where_to_look(path: str, destination: str) -> str:
    return (
        f"It was not found in queue '{path}' on '{destination}'; `tej list "
        f"{destination}{_queue_option(path)}` shows the jobs there"
    )


def _queue_option(path: str) -> str:
    return "" if path == DEFAULT_TEJ_DIR else f" --queue {shlex.quote(path)}"
