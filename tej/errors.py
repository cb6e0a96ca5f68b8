"""Exceptions of tej, all derived from `Error`.

    Error
    ├── InvalidDestination        the destination cannot be parsed
    ├── InvalidConfiguration      a configuration file has an error
    ├── InvalidJobId              the id is not a valid directory name
    ├── InvalidJobDirectory       the directory cannot be submitted
    ├── QueueDoesntExist          base class of the next two, never raised itself
    │   ├── QueueNotFound         the server found no queue at that path
    │   └── QueueLinkBroken       a link to a queue is dangling or circular
    ├── QueueExists               the path is taken, and was left as it is
    ├── QueueNotTrusted           other users can change the queue's scripts
    ├── JobNotFound
    ├── AmbiguousJob              a prefix or a name matches several jobs
    ├── JobAlreadyExists
    ├── JobStillRunning
    ├── JobFailed                 the job ended, but did not succeed
    ├── WaitTimeout               the job has not ended in time
    ├── DownloadFailed            a file is missing, or its path is not allowed
    ├── ConnectionFailed          the network or the login failed
    │   ├── AuthenticationFailed  the server accepts no offered key or password
    │   └── HostKeyRejected       the server's host key is unknown or has changed
    └── RemoteCommandFailure      a command failed on the server

Each error message says which action failed, on which object, why, and how to resolve
the problem.  Each class has a default message and can be raised without arguments, as
in tej 0.6.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "AmbiguousJob",
    "AuthenticationFailed",
    "ConnectionFailed",
    "DownloadFailed",
    "Error",
    "HostKeyRejected",
    "InvalidConfiguration",
    "InvalidDestination",
    "InvalidJobDirectory",
    "InvalidJobId",
    "JobAlreadyExists",
    "JobFailed",
    "JobNotFound",
    "JobStillRunning",
    "QueueDoesntExist",
    "QueueExists",
    "QueueLinkBroken",
    "QueueNotFound",
    "QueueNotTrusted",
    "RemoteCommandFailure",
    "WaitTimeout",
]


class Error(Exception):
    """Base class of all errors that tej raises."""

    default = "tej failed"

    def __init__(self, msg: str | None = None) -> None:
        super().__init__(self.default if msg is None else msg)


class InvalidDestination(Error):
    """The destination is not `[user@]host[:port]` or `local:`."""

    default = "Invalid destination"


class InvalidConfiguration(Error, ValueError):
    """A configuration file has an error, or lacks the requested profile."""

    default = "Invalid configuration"


class InvalidJobId(Error, ValueError):
    """The job id is not a valid directory name on every server."""

    default = "Invalid job identifier"


class InvalidJobDirectory(Error, ValueError):
    """The directory or its script cannot be submitted; the job was not started."""

    default = "Invalid job directory"


class QueueDoesntExist(Error):
    """The queue was not found: either `QueueNotFound` or `QueueLinkBroken`.

    Catch this class only to report the error or to retry.  The error does not prove
    that a job does not exist: a broken link may lead to a queue with running jobs, on a
    file system that is not mounted at the moment.
    """

    default = "Queue doesn't exist on the server"
    waited: float = 0.0
    """Seconds for which a wait retried before it raised this error."""


class QueueNotFound(QueueDoesntExist):
    """There is no queue at the given path on the server, and so no job in the queue.

    `submit`, `ensure` and `setup` create a queue that does not exist.  All other
    requests raise QueueNotFound.
    """


class QueueLinkBroken(QueueDoesntExist):
    """A link to a queue is dangling or circular; it is unknown which jobs exist."""

    default = "Queue link chain is broken"


class QueueExists(Error):
    """A queue cannot be created or used because of what its path contains.

    The path contains a queue, a queue of another version of tej, or other files.
    """

    default = "Queue already exists"


class QueueNotTrusted(Error):
    """Other users can change the queue or a link to it, and so run commands as you.

    `RemoteQueue(trust_queue=True)` and the option `--trust-queue` permit the use of a
    queue that other users can change.
    """

    default = "Other users can write to the queue"


class JobNotFound(Error):
    """No job in the queue has this id."""

    default = "Job not found"


class AmbiguousJob(Error):
    """A prefix of an id, or a name, matches several jobs."""

    default = "Several jobs match"


class JobAlreadyExists(Error):
    """A job with this id exists already; the existing job was not changed."""

    default = "Job already exists"


class JobStillRunning(Error):
    """The request is possible only for a job that has ended."""

    default = "Job is still running"


class JobFailed(Error):
    """The job did not succeed.

    The job exited with a non-zero code, was terminated by a signal, was killed, was cut
    off (see `JobStatus.cut_off`), or is lost.
    `job_id`, `state`, `exit_code`, `signal` and `host` are the values in the job's
    status.  `stderr` is the end of the job's stderr, at most 20 lines and 4 KiB.
    """

    default = "Job failed"

    def __init__(
        self,
        msg: str | None = None,
        *,
        job_id: str | None = None,
        state: str | None = None,
        exit_code: int | None = None,
        signal: int | None = None,
        host: str | None = None,
        stderr: str = "",
    ) -> None:
        super().__init__(msg)
        self.job_id = job_id
        self.state = state
        self.exit_code = exit_code
        self.signal = signal
        self.host = host
        self.stderr = stderr


class WaitTimeout(Error, TimeoutError):
    """The job did not end within the timeout of `wait`; the job continues to run."""

    default = "The job has not ended in time"


class DownloadFailed(Error):
    """A file is missing, or its path is not allowed.

    A path must not be outside the job's directory or the local directory.
    """

    default = "Download failed"


class ConnectionFailed(Error):
    """The server could not be reached, or the connection was lost.

    It is unknown whether the server has executed the request.  `__cause__` is the
    original error.
    """

    lasted: float = 0.0
    """Seconds from the start of the request to the last byte sent or received."""

    default = "Connection to the server failed"
    cut = False
    """Whether the failure came after the login: the connection was lost, or no data
    arrived."""
    permanent = False
    """Whether a retry is useless, for example because the host or port is wrong, or
    because the server accepts the login but never replies."""


class AuthenticationFailed(ConnectionFailed):
    """The server accepts none of the offered keys and passwords."""

    default = "Authentication failed"
    sent_secret = True
    """Whether a password or code may have been sent.  Some servers lock an account
    after several wrong passwords, so such a login is not repeated."""


class HostKeyRejected(ConnectionFailed):
    """The server's host key is unknown, revoked, or has changed."""

    default = "The server's host key is not trusted"


class RemoteCommandFailure(Error):
    """A command failed on the server, for example because the disk is full.

    As in tej 0.6, `command` is the verb of the request, and `ret` is the exit status.
    """

    default = "A command failed on the server"

    def __init__(
        self,
        msg: str | None = None,
        command: str | Sequence[str] | None = None,
        ret: int | None = None,
    ) -> None:
        if msg is None and command is not None:
            msg = f"Command {command!r} failed with status {ret}"
        super().__init__(msg)
        self.command = command
        self.ret = ret
