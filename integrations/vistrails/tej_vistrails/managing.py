"""The modules that end jobs and remove them.

Part of what VisTrails loads: Python 2.7 and 3.
"""

from __future__ import absolute_import, division

from .client import ClientError
from .jobs import JOB, Job
from .queues import Queue
from .remote_job import RemoteJob, give_up
from .vistrails_api import Module, NotCacheable, fail, settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List

    from .queues import Port


class ManageJob(NotCacheable, Module):
    """A job, from a module or by its id, to which something is done.

    What is connected to `after` is executed before.
    """

    _settings = settings(abstract=True)
    _input_ports = [
        ("job", Job, {"optional": True}),
        ("id", "(basic:String)", {"optional": True}),
        ("queue", Queue, {"optional": True}),
        ("after", "(basic:Module)", {"optional": True}),
    ]  # type: List[Port]

    def get_job(self):
        # type: () -> RemoteJob
        """The one that is meant."""
        if self.has_input("job"):
            return self.get_input("job")  # type: ignore[no-any-return]
        if not (self.has_input("id") and self.has_input("queue")):
            raise fail(self, "This needs a job, or its `id` and a `queue`")
        return RemoteJob(self.get_input("queue"), self.get_input("id"))


class KillJob(ManageJob):
    """End a job and all of its processes.  One that has ended is left alone.

    A module that submits a job gives it on when it has ended: name it by its id.
    """

    _settings = settings()
    _output_ports = [("job", JOB), ("state", "(basic:String)")]  # type: List[Port]

    def compute(self):
        # type: () -> None
        job = self.get_job()
        try:
            state = job.client.kill(job.job_id)["state"]
        except ClientError as error:
            give_up(self, error, None)
        self.set_output("job", job)
        self.set_output("state", str(state))


class DeleteJob(ManageJob):
    """Remove a job that has ended, with its files; one that is not there is no error.

    Executing the workflow again starts it again.
    """

    _settings = settings()
    _output_ports = [("deleted", "(basic:Boolean)")]  # type: List[Port]

    def compute(self):
        # type: () -> None
        job = self.get_job()
        deleted = True  # type: Any
        try:
            job.client.delete(job.job_id)
        except ClientError as error:
            if error.kind != "JobNotFound":
                give_up(self, error, None)
            deleted = False
        self.set_output("deleted", deleted)
