"""Modules that download files from jobs, and modules that kill and delete jobs.

VisTrails loads this file, so it must run in Python 2.7 and in Python 3.
"""

from __future__ import absolute_import, division

import os

from .client import ClientError
from .jobs import JOB, Job
from .queues import Queue
from .remote_job import RemoteJob, give_up
from .vistrails_api import Module, NotCacheable, PathObject, fail, settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Sequence, Tuple

    from .queues import Port


class Download(Module):
    """Base of the modules that download files from a job."""

    _settings = settings(abstract=True)
    _input_ports = [("job", Job)]  # type: List[Port]

    def fetch(self, names):
        # type: (Sequence[str]) -> Tuple[str, List[str]]
        """Download files of the job to a temporary directory.

        Returns the path of the directory and the paths of the files."""
        job = self.get_input("job")
        pool = self.interpreter.filePool.create_directory(prefix="vt_tmp_download_")
        try:
            return pool.name, job.client.download(job.job_id, names, pool.name)
        except ClientError as error:
            give_up(self, error, job)


class DownloadFile(Download):
    """Download one file of a job; `filename` is the path of the file in the job."""

    _settings = settings()
    _input_ports = [("filename", "(basic:String)")]  # type: List[Port]
    _output_ports = [("file", "(basic:File)")]  # type: List[Port]

    def compute(self):
        # type: () -> None
        name = self.get_input("filename")
        files = self.fetch([name])[1]
        if len(files) != 1:
            raise fail(
                self,
                "'%s' is %d files: use DownloadDirectory or DownloadFiles"
                % (name, len(files)),
            )
        self.set_output("file", PathObject(files[0]))


class DownloadDirectory(Download):
    """Download a directory of a job; `pathname` is the path of the directory."""

    _settings = settings()
    _input_ports = [("pathname", "(basic:String)")]  # type: List[Port]
    _output_ports = [("directory", "(basic:Directory)")]  # type: List[Port]

    def compute(self):
        # type: () -> None
        name = self.get_input("pathname")
        folder = os.path.normpath(os.path.join(self.fetch([name])[0], name))
        if not os.path.isdir(folder):
            raise fail(self, "'%s' is not a directory of the job" % name)
        self.set_output("directory", PathObject(folder))


class DownloadFiles(Download):
    """Download several files of a job in one request.

    Each value of `filenames` is a path in the job or a pattern.  The path of a file
    below `directory` is its path in the job."""

    _settings = settings()
    _input_ports = [("filenames", "(basic:String)")]  # type: List[Port]
    _output_ports = [
        ("directory", "(basic:Directory)"),
        ("files", "(basic:List)"),
    ]  # type: List[Port]

    def compute(self):
        # type: () -> None
        folder, files = self.fetch(self.get_input_list("filenames"))
        self.set_output("directory", PathObject(folder))
        self.set_output("files", [PathObject(path) for path in files])


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
            raise fail(self, "Connect the port `job`, or the ports `id` and `queue`")
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
