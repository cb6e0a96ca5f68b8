"""Modules that kill and delete jobs.

VisTrails loads this file, so it must run in Python 2.7 and in Python 3.
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
    """Base of modules that kill or delete a job.

    The port `job`, or the ports `id` and `queue`, specify the job.

    Modules connected to the port `after` are executed before this module.
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
        """Return the job to act on.  Raises ModuleError if the ports specify no job."""
        if self.has_input("job"):
            return self.get_input("job")  # type: ignore[no-any-return]
        if not (self.has_input("id") and self.has_input("queue")):
            raise fail(self, "This needs a job, or its `id` and a `queue`")
        return RemoteJob(self.get_input("queue"), self.get_input("id"))


class KillJob(ManageJob):
    """Kill all processes of a job.  If the job has already ended, nothing happens.

    A module that submits a job sets its output `job` only when the job has ended, so
    a running job must be specified by `id` and `queue`.
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
    """Delete a job that has ended, including its files.

    If the job does not exist, the output `deleted` is False.

    The next execution of the job's workflow starts the job again.
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
