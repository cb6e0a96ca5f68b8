"""Queue on a server, and its jobs: submission, status, logs, download, kill, delete.

Import the public names from `tej`, not from this package.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tej.job.spec import JobSpec as JobSpec
    from tej.queue.completed import as_completed as as_completed
    from tej.queue.job import Job as Job
    from tej.queue.remote import RemoteQueue as RemoteQueue


_HOMES = {
    "Job": "tej.queue.job",
    "JobSpec": "tej.job.spec",
    "RemoteQueue": "tej.queue.remote",
    "as_completed": "tej.queue.completed",
}


def __getattr__(name: str) -> object:
    # Python calls `__getattr__` also for submodules that are not imported yet.
    if name not in _HOMES:
        raise AttributeError(f"module 'tej.queue' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
