"""List of this package's modules, in the order in which VisTrails registers them.

Each module's class declares its ports.  VisTrails loads this file, so it must run in
Python 2.7 and in Python 3.
"""

from __future__ import absolute_import, division

from .files import Download, DownloadDirectory, DownloadFile, MakeDirectory
from .jobs import BaseSubmitJob, Job
from .queues import Queue
from .submit import SubmitJob, SubmitShellJob

_modules = [
    Queue,
    Job,
    BaseSubmitJob,
    SubmitJob,
    SubmitShellJob,
    Download,
    DownloadFile,
    DownloadDirectory,
    MakeDirectory,
]
