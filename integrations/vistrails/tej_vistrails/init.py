"""List of this package's modules, in the order in which VisTrails registers them.

VisTrails loads this file, so it must run in Python 2.7 and in Python 3.
"""

from __future__ import absolute_import, division

from .assembly import MakeDirectory
from .job_actions import (
    DeleteJob,
    Download,
    DownloadDirectory,
    DownloadFile,
    DownloadFiles,
    KillJob,
    ManageJob,
)
from .jobs import BaseSubmitJob, Job, SubmitJob, SubmitShellJob
from .queues import Queue

_modules = [
    Queue,
    Job,
    BaseSubmitJob,
    SubmitJob,
    SubmitShellJob,
    Download,
    DownloadFile,
    DownloadDirectory,
    DownloadFiles,
    MakeDirectory,
    ManageJob,
    KillJob,
    DeleteJob,
]
