"""Run a directory as a job on a server over SSH, and keep track of it.

    queue = tej.RemoteQueue("user@server.example.org")
    job_id = queue.submit(None, "simulation/", "start.sh")
    queue.status(job_id)
    queue.download(job_id, ["results.csv"], directory="out")
"""

from tej.destination import destination_as_string, parse_ssh_destination
from tej.errors import (
    AuthenticationFailed,
    ConnectionFailed,
    DownloadFailed,
    Error,
    HostKeyRejected,
    InvalidDestination,
    InvalidJobDirectory,
    InvalidJobId,
    JobAlreadyExists,
    JobFailed,
    JobNotFound,
    JobStillRunning,
    QueueDoesntExist,
    QueueExists,
    QueueLinkBroken,
    RemoteCommandFailure,
    WaitTimeout,
)
from tej.job import JobState, JobStatus
from tej.queue import DEFAULT_TEJ_DIR, Job, RemoteQueue
from tej.server_log import ServerLogger
from tej.version import __version__

__all__ = [
    "DEFAULT_TEJ_DIR",
    "AuthenticationFailed",
    "ConnectionFailed",
    "DownloadFailed",
    "Error",
    "HostKeyRejected",
    "InvalidDestination",
    "InvalidJobDirectory",
    "InvalidJobId",
    "Job",
    "JobAlreadyExists",
    "JobFailed",
    "JobNotFound",
    "JobState",
    "JobStatus",
    "JobStillRunning",
    "QueueDoesntExist",
    "QueueExists",
    "QueueLinkBroken",
    "RemoteCommandFailure",
    "RemoteQueue",
    "ServerLogger",
    "WaitTimeout",
    "__version__",
    "destination_as_string",
    "parse_ssh_destination",
]
