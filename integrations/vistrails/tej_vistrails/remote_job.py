"""Jobs on a server, as passed between modules and watched by VisTrails.

VisTrails loads this file: Python 2.7 and 3.
"""

from __future__ import absolute_import, division

from .client import ClientError
from .clients import open_client
from .vistrails_api import fail, suspend, waits, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn, Optional

    from .client import Document
    from .queues import QueueReference
    from .vistrails_api import Module

SIGNALLED = 128
"""Added to a signal's number for the exit status, as shells do."""


class RemoteJob(object):
    """A job, by its queue and id.  VisTrails calls this a JobHandle."""

    def __init__(self, queue, job_id):
        # type: (QueueReference, str) -> None
        self.queue = queue
        self.job_id = job_id
        self.last = None  # type: Optional[Document]
        """The last known status; None if the job does not exist."""

    def __repr__(self):
        # type: () -> str
        return "<job %s in %r>" % (self.job_id, self.queue)

    @property
    def client(self):
        # type: () -> Any
        """The client of the queue."""
        return open_client(self.queue.address)

    def look(self):
        # type: () -> Optional[Document]
        """Ask the server for the status; raises ClientError."""
        self.last = self.client.status(self.job_id)
        return self.last

    def finished(self):
        # type: () -> bool
        """Whether the job has ended or was deleted.

        VisTrails takes the job for finished, and forgets it, if this method raises, so
        that an error is answered with False."""
        try:
            job = self.look()
        except ClientError as error:
            warn("tej: %s: %s" % (self.job_id, error.message))
            return False
        return job is None or bool(job["final"])

    def standard_output(self):
        # type: () -> str
        """Return the last lines of stdout, which VisTrails shows while the job runs."""
        return str(self.client.output(self.job_id, "stdout"))

    def standard_error(self):
        # type: () -> str
        """Return the last lines of stderr."""
        return str(self.client.output(self.job_id, "stderr"))

    def wait(self):
        # type: () -> None
        """Wait for the end of the job; raises ClientError."""
        self.last = self.client.wait(self.job_id)


def await_end(module, job):
    # type: (Module, RemoteJob) -> Document
    """Return the final status of a job.

    Waits, or suspends the module, depending on how the workflow is executed."""
    monitor = module.job_monitor()
    if waits(monitor):
        try:
            job.wait()
        except KeyboardInterrupt:
            raise suspend(module, "Interrupted; job '%s' goes on" % job.job_id, job)
    else:
        monitor.checkJob(module, module.signature, job)
    if job.last is None:
        raise fail(
            module,
            "Job '%s' was deleted on the server meanwhile: execute again to start it "
            "again" % job.job_id,
        )
    return job.last


def give_up(module, error, job):
    # type: (Module, ClientError, Optional[RemoteJob]) -> NoReturn
    """Raise a tej error as a module error.

    A lost connection suspends the module instead, since the job goes on."""
    message = "tej: %s" % error.message
    if job is not None and error.may_pass:
        warn(message + "; suspended: execute again when the server can be reached")
        raise suspend(module, message, job)
    raise fail(module, message)


def exit_code(job):
    # type: (Document) -> int
    """Return the exit code; 128 + N for signal N, as shells report it."""
    code = job["exit_code"]
    return int(SIGNALLED + (job["signal"] or 0) if code is None else code)


def why_not_well(job):
    # type: (Document) -> Optional[str]
    """Describe why a job did not succeed; None if it did."""
    if job["state"] == "lost":
        return "is lost: %s" % job["evidence"]
    if job["state"] == "killed":
        return "was killed by %s" % (job["killed_by"] or "somebody")
    if job["signal"]:
        return "was ended by signal %s" % job["signal"]
    code = exit_code(job)
    return "failed with exit code %d" % code if code else None
