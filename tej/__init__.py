"""Run a directory as a job on a server over SSH, and keep track of it.

queue = tej.RemoteQueue("user@server.example.org")
job = queue.ensure("simulation/", script="start.sh")
job.wait()
job.download(["results.csv", "plots/*.png"], directory="out")
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
    QueueNotTrusted,
    RemoteCommandFailure,
    WaitTimeout,
)
from tej.job.resources import Resources
from tej.job.signature import signature
from tej.job.status import JobState, JobStatus
from tej.queue import (
    DEFAULT_TEJ_DIR,
    Batch,
    Downloaded,
    Job,
    JobSpec,
    Killed,
    Outcome,
    RemoteQueue,
    Retries,
    Run,
    RunResult,
    as_completed,
    close_shared_queues,
    run_many,
    shared_queue,
)
from tej.queue.server_log import ServerLogger
from tej.version import __version__

__all__ = [
    "DEFAULT_TEJ_DIR",
    "AuthenticationFailed",
    "Batch",
    "ConnectionFailed",
    "DownloadFailed",
    "Downloaded",
    "Error",
    "HostKeyRejected",
    "InvalidDestination",
    "InvalidJobDirectory",
    "InvalidJobId",
    "Job",
    "JobAlreadyExists",
    "JobFailed",
    "JobNotFound",
    "JobSpec",
    "JobState",
    "JobStatus",
    "JobStillRunning",
    "Killed",
    "Outcome",
    "QueueDoesntExist",
    "QueueExists",
    "QueueLinkBroken",
    "QueueNotTrusted",
    "RemoteCommandFailure",
    "RemoteQueue",
    "Resources",
    "Retries",
    "Run",
    "RunResult",
    "ServerLogger",
    "WaitTimeout",
    "__version__",
    "as_completed",
    "close_shared_queues",
    "destination_as_string",
    "parse_ssh_destination",
    "run_many",
    "shared_queue",
    "signature",
]
