"""What can go wrong, by who can do something about it.

    Error
    ├── InvalidDestination        the address cannot be read
    ├── InvalidJobId              the id could not be a directory's name
    ├── InvalidJobDirectory       what is to be uploaded cannot be a job
    ├── QueueDoesntExist          there is no queue at that path
    │   └── QueueLinkBroken       ... a link leads nowhere, or in a circle
    ├── QueueExists               something is there already, and stays
    ├── QueueNotTrusted           other users can write to the queue
    ├── JobNotFound
    ├── JobAlreadyExists
    ├── JobStillRunning
    ├── JobFailed                 it ended, but not well
    ├── WaitTimeout               it has not ended in the time given
    ├── DownloadFailed            a file is not there, or leads elsewhere
    ├── ConnectionFailed          the network, or the way in
    │   ├── AuthenticationFailed  ... the server does not let us in
    │   └── HostKeyRejected       ... it is not the server we know
    └── RemoteCommandFailure      the server could not do its part

Every message names the thing and the way out.  A class has a default message, so
that it can be raised bare, as in tej 0.6.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "AuthenticationFailed",
    "ConnectionFailed",
    "DownloadFailed",
    "Error",
    "HostKeyRejected",
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
    "QueueNotTrusted",
    "RemoteCommandFailure",
    "WaitTimeout",
]


class Error(Exception):
    """Base class: `except tej.Error` catches all that tej raises by itself."""

    default = "tej could not do that"

    def __init__(self, msg: str | None = None) -> None:
        super().__init__(self.default if msg is None else msg)


class InvalidDestination(Error):
    """The destination is neither `[user@]host[:port]` nor `local:`."""

    default = "Invalid destination"


class InvalidJobId(Error, ValueError):
    """The id could not be a directory's name on every server."""

    default = "Invalid job identifier"


class InvalidJobDirectory(Error, ValueError):
    """The directory cannot be sent or its script cannot run; nothing was sent."""

    default = "Invalid job directory"


class QueueDoesntExist(Error):
    """There is no queue at that path on the server.

    `submit`, `ensure` and `setup` make one; the other verbs expect it.
    """

    default = "Queue doesn't exist on the server"


class QueueLinkBroken(QueueDoesntExist):
    """A link to a queue leads to nothing, or in a circle."""

    default = "Queue link chain is broken"


class QueueExists(Error):
    """What is at the queue's path is kept: a queue, another tej's, or not tej's."""

    default = "Queue already exists"


class QueueNotTrusted(Error):
    """Other users can change the queue or a link to it, and so run commands as you.

    `RemoteQueue(trust_queue=True)` and `--trust-queue` use it nevertheless.
    """

    default = "Other users can write to the queue"


class JobNotFound(Error):
    """No job of that id is in the queue."""

    default = "Job not found"


class JobAlreadyExists(Error):
    """The id is taken; the job there was not touched."""

    default = "Job already exists"


class JobStillRunning(Error):
    """What was asked for has to wait until the job has ended."""

    default = "Job is still running"


class JobFailed(Error):
    """The job ended with a non-zero exit code, by a signal, was killed, or is lost.

    `job_id`, `state`, `exit_code`, `signal` and `host` say how and where, as in its
    status; `stderr` has the last lines it wrote there.
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
    """The time given to `wait` is over; the job goes on."""

    default = "The job has not ended yet"


class DownloadFailed(Error):
    """A file asked for is not there, or would lead outside of where it belongs."""

    default = "Download failed"


class ConnectionFailed(Error):
    """The server could not be reached, or the connection was lost on the way.

    What was asked for may or may not have happened.  The cause is in `__cause__`.
    """

    default = "Connection to the server failed"
    permanent = False
    """Whether a retry is pointless: the host or port is wrong, or the login is mute."""


class AuthenticationFailed(ConnectionFailed):
    """The server was reached, but accepts none of the ways offered to log in."""

    default = "Authentication failed"


class HostKeyRejected(ConnectionFailed):
    """The server's host key is unknown or, worse, not the one it had before."""

    default = "The server's host key is not trusted"


class RemoteCommandFailure(Error):
    """The server's part failed: its disk is full, a program is missing, ...

    `command` is the verb, `ret` the exit status, as in tej 0.6.
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
