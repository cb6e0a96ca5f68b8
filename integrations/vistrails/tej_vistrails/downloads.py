"""Modules that download files from jobs.

VisTrails loads this file, so it must run in Python 2.7 and in Python 3.
"""

from __future__ import absolute_import, division

import os

from .client import ClientError
from .jobs import Job
from .remote_job import give_up
from .vistrails_api import Module, PathObject, fail, settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Sequence, Tuple

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
            raise fail(self, "'%s' is no directory of the job" % name)
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
