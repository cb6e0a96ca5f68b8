"""Job handles: modules pass handles through ports, and VisTrails polls the handles.

VisTrails loads this file, so it must run in Python 2.7 and in Python 3.
"""

from __future__ import absolute_import, division

from .client import ClientError, CommandClient
from .vistrails_api import fail, suspend, waits, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn, Optional

    from .client import Document, QueueAddress
    from .vistrails_api import Module

SIGNALLED = 128
"""Difference between a signal's number and the exit status that a shell reports for
it."""


class RemoteJob(object):
    """A job on a server, given by queue and id; VisTrails uses it as a JobHandle."""

    def __init__(self, queue, job_id):
        # type: (QueueAddress, str) -> None
        self.queue = queue
        self.job_id = job_id
        self.last = None  # type: Optional[Document]
        """Status in the last reply; None if there was no reply or no such job."""

    def __repr__(self):
        # type: () -> str
        return "<job %s in %r>" % (self.job_id, self.queue)

    @property
    def client(self):
        # type: () -> Any
        """Return the client of the job's queue."""
        return CommandClient(self.queue)

    def request_status(self):
        # type: () -> Optional[Document]
        """Request the job's status from the server, and return the status.

        Returns None if the job does not exist.  Raises ClientError."""
        self.last = self.client.status(self.job_id)
        return self.last

    def finished(self):
        # type: () -> bool
        """Return True if the job has ended or was deleted.

        Return False if the request fails.  If this method raised the error, VisTrails
        would treat the job as finished and would not check the job again.  VisTrails
        chooses the interval between two calls (its setting `jobCheckInterval`)."""
        try:
            job = self.request_status()
        except ClientError as error:
            warn("tej: %s: %s" % (self.job_id, error.message))
            return False
        return job is None or bool(job["final"])

    # The window of VisTrails shows the text that these two methods return.

    def standard_output(self):
        # type: () -> str
        """Return what the job has written to stdout.  Raises ClientError."""
        return str(self.client.output(self.job_id, "stdout"))

    def standard_error(self):
        # type: () -> str
        """Return what the job has written to stderr.  Raises ClientError."""
        return str(self.client.output(self.job_id, "stderr"))

    def wait(self):
        # type: () -> None
        """Wait until the job has ended.  Raises ClientError."""
        self.last = self.client.wait(self.job_id)


def await_end(module, job):
    # type: (Module, RemoteJob) -> Document
    """Return the final status of a job, or suspend the module.

    If `waits` returns True, wait until the job has ended.  Otherwise, suspend the
    module if the job is still running."""
    monitor = module.job_monitor()
    if waits(monitor):
        try:
            job.wait()
        except KeyboardInterrupt:
            raise suspend(
                module, "Interrupted; job '%s' continues to run" % job.job_id, job
            )
    else:
        monitor.checkJob(module, module.signature, job)
    if job.last is None:
        raise fail(
            module,
            "Job '%s' was deleted on the server: execute the workflow again to start "
            "the job again" % job.job_id,
        )
    return job.last


def raise_module_error(module, error, job):
    # type: (Module, ClientError, Optional[RemoteJob]) -> NoReturn
    """Raise the ModuleError that corresponds to `error`.

    If the connection was lost, raise ModuleSuspended, because the job may still run."""
    message = "tej: %s" % error.message
    if job is not None and error.is_temporary:
        warn(
            message + "; the module is suspended: execute the workflow again when the "
            "server can be reached"
        )
        raise suspend(module, message, job)
    raise fail(module, message)


def exit_code(job):
    # type: (Document) -> int
    """Return a job's exit code, or 128 + N if signal N ended the job."""
    code = job["exit_code"]
    return int(SIGNALLED + (job["signal"] or 0) if code is None else code)


def describe_failure(job):
    # type: (Document) -> Optional[str]
    """Return how a job failed, such as "is lost: ..."; None if the job succeeded."""
    if job["state"] == "lost":
        return "is lost: %s" % job["evidence"]
    if job["state"] == "killed":
        return "was killed by %s" % (job["killed_by"] or "somebody")
    if job["signal"]:
        return "was ended by signal %s" % job["signal"]
    code = exit_code(job)
    return "failed with exit code %d" % code if code else None
