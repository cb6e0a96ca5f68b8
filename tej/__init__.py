"""Run a directory as a job on a server over SSH, and keep track of it.

queue = tej.RemoteQueue("user@server.example.org")
job = queue.ensure("simulation/", script="start.sh")
job.wait()
job.download(["results.csv", "plots/*.png"], directory="out")

Each name is imported on first use (PEP 562), which keeps `tej --help` fast.
"""

from __future__ import annotations

from importlib import import_module

# Type checkers treat `TYPE_CHECKING` as true.  The module `typing` is not imported,
# because its import takes longer than the rest of `tej --help`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from tej.destination import (
        Destination,
        destination_as_string,
        parse_ssh_destination,
    )
    from tej.errors import (
        AmbiguousJob,
        AuthenticationFailed,
        ConnectionFailed,
        DownloadFailed,
        Error,
        HostKeyRejected,
        InvalidConfiguration,
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
        QueueNotFound,
        QueueNotTrusted,
        RemoteCommandFailure,
        WaitTimeout,
    )
    from tej.job.directory import scan
    from tej.job.directory_entry import Entry
    from tej.job.escaping import escape
    from tej.job.formatting import format_duration
    from tej.job.job_id import check_job_id
    from tej.job.job_list import JobList
    from tej.job.resources import Resources
    from tej.job.shell_quoting import CannotQuote, RawText, fill_shell_fields
    from tej.job.signature import make_id, signature
    from tej.job.spec import JobSpec
    from tej.job.status import JobState, JobStatus
    from tej.queue.as_completed import as_completed
    from tej.queue.batch import Batch, run_many
    from tej.queue.default_queue import DEFAULT_TEJ_DIR
    from tej.queue.download import Downloaded
    from tej.queue.fetch_results import fetch_results, is_temporary
    from tej.queue.file_patterns import FilePattern, OptionalFile
    from tej.queue.job import Job
    from tej.queue.job_files import JobFile
    from tej.queue.kill_request import Killed
    from tej.queue.logs import Logs, Piece
    from tej.queue.queue_requests import DiskUsage, QueueInfo
    from tej.queue.remote import RemoteQueue
    from tej.queue.retry_policy import Retries
    from tej.queue.run_result import Run, RunResult
    from tej.queue.server_log import ServerLogger
    from tej.queue.shared_queue import (
        close_shared_queues,
        share_with_children,
        shared_queue,
    )
    from tej.queue.submission import Outcome
    from tej.version import __version__

__all__ = [
    "DEFAULT_TEJ_DIR",
    "AmbiguousJob",
    "AuthenticationFailed",
    "Batch",
    "CannotQuote",
    "ConnectionFailed",
    "Destination",
    "DiskUsage",
    "DownloadFailed",
    "Downloaded",
    "Entry",
    "Error",
    "FilePattern",
    "HostKeyRejected",
    "InvalidConfiguration",
    "InvalidDestination",
    "InvalidJobDirectory",
    "InvalidJobId",
    "Job",
    "JobAlreadyExists",
    "JobFailed",
    "JobFile",
    "JobList",
    "JobNotFound",
    "JobSpec",
    "JobState",
    "JobStatus",
    "JobStillRunning",
    "Killed",
    "Logs",
    "OptionalFile",
    "Outcome",
    "Piece",
    "QueueDoesntExist",
    "QueueExists",
    "QueueInfo",
    "QueueLinkBroken",
    "QueueNotFound",
    "QueueNotTrusted",
    "RawText",
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
    "check_job_id",
    "close_shared_queues",
    "destination_as_string",
    "escape",
    "fetch_results",
    "fill_shell_fields",
    "format_duration",
    "is_temporary",
    "make_id",
    "parse_ssh_destination",
    "run_many",
    "scan",
    "share_with_children",
    "shared_queue",
    "signature",
]

_HOMES = {
    "tej.destination": {
        "Destination",
        "destination_as_string",
        "parse_ssh_destination",
    },
    "tej.job.directory": {"scan"},
    "tej.job.directory_entry": {"Entry"},
    "tej.job.escaping": {"escape"},
    "tej.job.formatting": {"format_duration"},
    "tej.job.job_list": {"JobList"},
    "tej.job.resources": {"Resources"},
    "tej.job.shell_quoting": {"CannotQuote", "RawText", "fill_shell_fields"},
    "tej.job.signature": {"make_id", "signature"},
    "tej.job.spec": {"JobSpec"},
    "tej.job.job_id": {"check_job_id"},
    "tej.job.status": {"JobState", "JobStatus"},
    "tej.queue.batch": {"Batch", "run_many"},
    "tej.queue.as_completed": {"as_completed"},
    "tej.queue.default_queue": {"DEFAULT_TEJ_DIR"},
    "tej.queue.download": {"Downloaded"},
    "tej.queue.fetch_results": {"fetch_results", "is_temporary"},
    "tej.queue.file_patterns": {"FilePattern", "OptionalFile"},
    "tej.queue.job_files": {"JobFile"},
    "tej.queue.logs": {"Logs", "Piece"},
    "tej.queue.queue_requests": {"DiskUsage", "QueueInfo"},
    "tej.queue.kill_request": {"Killed"},
    "tej.queue.job": {"Job"},
    "tej.queue.remote": {"RemoteQueue"},
    "tej.queue.retry_policy": {"Retries"},
    "tej.queue.run_result": {"Run", "RunResult"},
    "tej.queue.server_log": {"ServerLogger"},
    "tej.queue.shared_queue": {
        "close_shared_queues",
        "share_with_children",
        "shared_queue",
    },
    "tej.queue.submission": {"Outcome"},
    "tej.version": {"__version__"},
}
"""The public names in each module, except for the errors in `tej.errors`."""

_SUBMODULES = {"destination", "errors", "job", "queue", "submission", "utils"}
"""Submodules that are attributes of `tej` after `import tej`, as in tej 0.6."""


def __getattr__(name: str) -> object:
    if name in _SUBMODULES:
        return import_module(f"tej.{name}")
    if name not in __all__:
        raise AttributeError(f"module 'tej' has no attribute {name!r}")
    home = next((one for one, names in _HOMES.items() if name in names), "tej.errors")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBMODULES})
