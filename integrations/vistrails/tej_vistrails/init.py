"""List of VisTrails modules, in the order in which VisTrails registers them.

Each module's class declares its ports.  VisTrails loads this file, so it must run in
Python 2.7 and in Python 3.
"""

from __future__ import absolute_import, division

from .file_modules import Download, DownloadDirectory, DownloadFile, MakeDirectory
from .job_modules import BaseSubmitJob, Job, Queue, SubmitJob, SubmitShellJob

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
