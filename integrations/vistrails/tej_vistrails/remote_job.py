"""A job on a server, as modules hand it on and VisTrails keeps an eye on it.

Part of what VisTrails loads: Python 2.7 and 3.
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
"""What shells add to the number of a signal."""


class RemoteJob(object):
    """A job, by its queue and its id; what VisTrails calls a JobHandle."""

    def __init__(self, queue, job_id):
        # type: (QueueReference, str) -> None
        self.queue = queue
        self.job_id = job_id
        self.last = None  # type: Optional[Document]
        """What the server said when it was last asked; None if there is no such job."""

    def __repr__(self):
        # type: () -> str
        return "<job %s in %r>" % (self.job_id, self.queue)

    @property
    def client(self):
        # type: () -> Any
        """What the queue is asked with."""
        return open_client(self.queue.address)

    def look(self):
        # type: () -> Optional[Document]
        """Ask the server; raises ClientError."""
        self.last = self.client.status(self.job_id)
        return self.last

    def finished(self):
        # type: () -> bool
        """Whether there is something to be done: it has ended, or it is gone.

        VisTrails takes a job for finished, and forgets it, if this raises: what cannot
        be known now is "no"."""
        try:
            job = self.look()
        except ClientError as error:
            warn("tej: %s: %s" % (self.job_id, error.message))
            return False
        return job is None or bool(job["final"])

    def standard_output(self):
        # type: () -> str
        """The last lines of it; VisTrails shows them of a job that runs."""
        return str(self.client.output(self.job_id, "stdout"))

    def standard_error(self):
        # type: () -> str
        """The same of its stderr."""
        return str(self.client.output(self.job_id, "stderr"))

    def wait(self):
        # type: () -> None
        """Until it has ended; raises ClientError."""
        self.last = self.client.wait(self.job_id)


def await_end(module, job):
    # type: (Module, RemoteJob) -> Document
    """The job's last status: waits, or suspends the module, as the host has it."""
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
    """An error of tej's as the host's: a broken connection suspends the module, since
    the job goes on and can be asked later."""
    message = "tej: %s" % error.message
    if job is not None and error.may_pass:
        warn(message + "; suspended: execute again when the server can be reached")
        raise suspend(module, message, job)
    raise fail(module, message)


def exit_code(job):
    # type: (Document) -> int
    """Of a job that ended by itself; of a signal, as shells say it."""
    code = job["exit_code"]
    return int(SIGNALLED + (job["signal"] or 0) if code is None else code)


def why_not_well(job):
    # type: (Document) -> Optional[str]
    """In words; None of a job that finished with 0."""
    if job["state"] == "lost":
        return "is lost: %s" % job["evidence"]
    if job["state"] == "killed":
        return "was killed by %s" % (job["killed_by"] or "somebody")
    if job["signal"]:
        return "was ended by signal %s" % job["signal"]
    code = exit_code(job)
    return "failed with exit code %d" % code if code else None
