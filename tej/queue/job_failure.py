"""Error of a job that did not succeed, with the last lines of its stderr."""

from __future__ import annotations

from tej.errors import Error, JobFailed
from tej.job.status import JobStatus
from tej.job.stderr_hints import find_hint
from tej.queue.connection import QueueConnection, run_script
from tej.queue.logs import STREAMS

FAILURE_LINES = 20
FAILURE_BYTES = 4096
"""The error of a failed job includes at most FAILURE_LINES lines and FAILURE_BYTES
bytes of stderr."""
FAILURES_WITH_STDERR = 5
"""Maximum number of failed jobs in a batch whose error includes the end of stderr; each
stderr costs a request."""


def job_failure(
    connection: QueueConnection, status: JobStatus, *, with_stderr: bool = True
) -> JobFailed:
    """Return the error for a job that did not succeed; see `RemoteQueue.failure`."""
    stderr = messages = ""
    if with_stderr:
        stderr, messages = _last_words(connection, status)
    where = f" on {status.host}" if status.host else ""
    words = f"Job '{status.job_id}'{where}: {status.describe()}"
    hint = find_hint(stderr)
    parts = (words, stderr, messages, hint and f"Hint: {hint}")
    return JobFailed(
        "\n".join(part for part in parts if part),
        job_id=status.job_id,
        state=status.state.value,
        exit_code=status.exit_code,
        signal=status.signal,
        host=status.host,
        stderr=stderr,
    )


def _last_words(connection: QueueConnection, status: JobStatus) -> tuple[str, str]:
    """Return the last lines of a job's stderr, and the last lines of the scheduler's
    messages; each text has at most FAILURE_BYTES bytes."""
    path = str(status.directory)
    try:
        data = run_script(connection, _LAST_WORDS, [path], tuple, None, again=True)
    except Error as error:
        return f"(the job's stderr could not be read: {error})", ""
    stderr, _, messages = data.rpartition(b"\0")
    return _end(stderr), _end(messages)


# The files tej_*.log contain only the scheduler's messages, not the job's output.
_LAST_WORDS = f"""\
for file in "$1/{STREAMS["stderr"]}" "$1"/../tej_*.log; do
    [ "$file" = "$1/{STREAMS["stderr"]}" ] || printf '\\0'
    [ ! -f "$file" ] || tail -c {FAILURE_BYTES} -- "$file"
done
"""


def _end(data: bytes) -> str:
    return last_lines(data, FAILURE_LINES, whole=len(data) < FAILURE_BYTES)


def last_lines(data: bytes, count: int, *, whole: bool) -> str:
    """Return the last `count` lines of `data`, as a terminal shows them.

    In a line with `\\r`, only the text after the last `\\r` is returned, because a
    terminal overwrites the text before.  `whole` is true if `data` starts at the
    beginning of a line.
    """
    lines = data.decode("utf-8", "replace").rstrip().split("\n")
    if not whole and len(lines) > 1:
        # Omit the first line, because its beginning may be missing.
        del lines[0]
    shown = [line.rstrip("\r").rpartition("\r")[2] for line in lines[-count:]]
    return "\n".join(shown)
