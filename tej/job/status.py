"""Status record of a job, and the list of job states, as the server reports them."""

from __future__ import annotations

import enum
import signal as signals
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import PurePosixPath
from typing import Any

from tej.job.escaping import escape_line
from tej.job.formatting import format_duration


class JobState(str, enum.Enum):
    """The state of a job."""

    CREATED = "created"
    """The job was uploaded completely, but was not yet passed to the runtime."""
    QUEUED = "queued"
    """The job waits for the scheduler, for other jobs, or for the job limit of the
    queue."""
    RUNNING = "running"
    """The job has started, but has not ended."""
    FINISHED = "finished"
    """The script exited or was ended by a signal, and nobody requested a `kill`."""
    KILLED = "killed"
    """The job ended after a `kill`, or was cancelled in the scheduler."""
    LOST = "lost"
    """The outcome of the job is unknown; `JobStatus.evidence` contains the reason."""

    @property
    def final(self) -> bool:
        """Whether the job has ended: the state is finished, killed or lost.

        A final state does not change, with one exception: a job that is `lost` may
        record its end later, which changes its state.
        """
        return self in _FINAL

    def __str__(self) -> str:
        return self.value


_FINAL = frozenset({JobState.FINISHED, JobState.KILLED, JobState.LOST})


@dataclass(frozen=True)
class JobStatus:
    """The status of a job as the server reports it.

    Times are in UTC, by the server's clock.  A JobStatus unpacks to three values as in
    tej 0.6: `status, directory, result = queue.status(job_id)`.  `status` equals
    "running", "finished", ..., and `result` is the exit code as text, or None.
    """

    job_id: str
    state: JobState
    directory: PurePosixPath
    """The job's working directory on the server."""
    exit_code: int | None = None
    """Exit code of the script, 0 to 255.

    The exit code is None if the script has not ended, or was ended by a signal."""
    signal: int | None = None
    """Number of the signal that ended the script, such as 15 for SIGTERM."""
    submitted: datetime | None = None
    started: datetime | None = None
    ended: datetime | None = None
    duration: float | None = None
    """Seconds from the start to the end of the job; seconds since the start if the job
    is running."""
    host: str | None = None
    """Host name of the machine that the job runs or ran on."""
    native_id: str | None = None
    """Id of the job in its runtime: a process id, or the scheduler's job id."""
    runtime: str = ""
    cut_off: str | None = None
    """Reason why the job was ended early, or None.

    `limit`: the job exceeded its time or memory limit.  `other`: the job was preempted
    or cancelled, its node failed, or the job got a SIGTERM that tej did not send.  A
    job that was cut off has not succeeded, whatever its exit code."""
    killed_by: str | None = None
    """User who requested the kill."""
    evidence: str | None = None
    """Reason why the job is considered lost."""
    note: str | None = None
    """Human-readable note from the server."""
    seen: int | None = None
    """Seconds since the job's last heartbeat.

    The value is None if the job runs on the machine that reported this status."""
    processes_left: int = 0
    """Number of processes that the script left running."""
    attempt: int = 1
    """Number of the attempt: 1 for the first start, 2 after one retry, ..."""
    name: str = ""
    script: str = ""
    submitter: str = ""
    signature: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    """This job's values of the parameters of a sweep, by name.

    The values are also environment variables of the job.
    """
    reported: datetime | None = field(default=None, compare=False, repr=False)
    """Time at which the server reported this status, by the server's clock.

    Ages such as "2 h ago" are relative to this time.
    """
    after: tuple[str, ...] = ()
    """Ids of the jobs that had to succeed before this job could start."""
    resources: Mapping[str, str] = field(default_factory=dict)
    """The requested resources, as they are passed to the server.

    Sizes are in bytes and times in seconds, such as `{"cpus": "4", "walltime": "600"}`.
    """
    downloaded: datetime | None = None
    """Time of the last download of files with `tej download` or `tej run`.

    The value is None if no file was downloaded since the job ended, or only by an older
    version of tej.
    """
    token: str = field(default="", compare=False, repr=False)
    """Random token of the submission; every attempt of a job has its own token."""
    sequence: int | None = field(default=None, compare=False, repr=False)
    """Number that orders jobs that were submitted in the same second.

    The later the job was passed to its runtime, the greater the number.  The value
    is None if the job has not been passed to its runtime yet, or if its order is
    unknown.
    """

    @property
    def succeeded(self) -> bool:
        """Whether the job finished with exit code 0 and was not cut off."""
        finished = self.state is JobState.FINISHED and self.exit_code == 0
        return finished and self.cut_off is None

    @property
    def failed(self) -> bool:
        """Whether the job has ended without success."""
        return self.state.final and not self.succeeded

    @property
    def result(self) -> str | None:
        """The exit code as text, or None if there is no exit code.

        If a signal ended the script, the result is 128 plus the signal's number, as in
        a shell.
        """
        if self.exit_code is not None:
            return str(self.exit_code)
        return None if self.signal is None else str(128 + self.signal)

    def __iter__(self) -> Iterator[Any]:
        return iter((self.state, self.directory, self.result))

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Any:  # noqa: ANN401 (a triple of three types)
        return tuple(self)[index]

    def __str__(self) -> str:
        """Return the id and the state in one line, with control characters escaped."""
        return escape_line(f"{self.job_id}: {self.describe()}")

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: ANN401
        """Print the line of `str()` at the prompt of IPython."""
        printer.text(str(self))

    def _repr_html_(self) -> str:
        # Import `html` here, because `tej status` does not need it.
        import html

        return f"<pre>{html.escape(str(self))}</pre>"

    def describe(self) -> str:
        """Return a sentence about the state, as the command `tej status` prints it."""
        if self.state is JobState.RUNNING:
            words = f"Job is still running{self._duration()}"
            if self.seen is not None:
                words += f" on {self.host}" if self.host else ""
                words += f", last seen {self.seen} s ago"
        elif self.state is JobState.FINISHED:
            words = f"Job is finished{self._duration()}{self._how()}"
        elif self.state is JobState.KILLED:
            words = f"Job was killed{self._duration()}"
            words += f" by {self.killed_by}" if self.killed_by else ""
            words += (
                f" at {self.ended.astimezone():%Y-%m-%d %H:%M:%S}" if self.ended else ""
            )
            words += self._how()
            has_started = any(
                one is not None for one in (self.started, self.duration, self.result)
            )
            if not has_started and "not started" not in (self.note or ""):
                words += " before it started"
        elif self.state is JobState.LOST:
            words = f"Job is lost: {self.evidence}"
        else:
            words = f"Job is {self.state}"
        return f"{words}; {self.note}" if self.note else words

    def _duration(self) -> str:
        return "" if self.duration is None else f" ({format_duration(self.duration)})"

    def _how(self) -> str:
        words = f" with exit code {self.exit_code}" if self.exit_code else ""
        if self.signal is not None:
            words = f", ended by {signal_name(self.signal)}"
        if self.processes_left:
            noun = "process" if self.processes_left == 1 else "processes"
            words += f", {self.processes_left} {noun} left"
        return words

    def as_dict(self) -> dict[str, Any]:
        """Return the status as a dictionary for JSON, which always has the same keys.

        Times are in ISO 8601; unknown values are None.
        """
        return {
            "id": self.job_id,
            "state": self.state.value,
            "final": self.state.final,
            "exit_code": self.exit_code,
            "signal": self.signal,
            "directory": str(self.directory),
            "submitted": _iso(self.submitted),
            "started": _iso(self.started),
            "ended": _iso(self.ended),
            "duration": self.duration,
            "host": self.host,
            "native_id": self.native_id,
            "runtime": self.runtime,
            "cut_off": self.cut_off,
            "killed_by": self.killed_by,
            "evidence": self.evidence,
            "note": self.note,
            "seen": self.seen,
            "processes_left": self.processes_left,
            "attempt": self.attempt,
            "name": self.name,
            "script": self.script,
            "submitter": self.submitter,
            "signature": self.signature,
            "labels": dict(self.labels),
            "parameters": dict(self.parameters),
            "after": [*self.after],
            "resources": dict(self.resources),
            "downloaded": _iso(self.downloaded),
        }


def signal_name(number: int) -> str:
    """Return the name of a signal, such as SIGTERM for 15.

    The number is looked up in the signals of this machine.  A server may use another
    number for the same signal, but nearly all systems agree on the common signals.
    """
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"signal {number}"


def from_timestamp(seconds: int | None) -> datetime | None:
    """Convert seconds since 1970 to a time in UTC; returns None if out of range."""
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, timezone.utc)
    except (OverflowError, ValueError, OSError):
        return None


def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()
