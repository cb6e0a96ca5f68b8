"""What users hold: a queue on a server, and the jobs in it."""

from tej.job.spec import JobSpec
from tej.queue.base import DEFAULT_TEJ_DIR
from tej.queue.completed import as_completed
from tej.queue.job import Job
from tej.queue.remote import RemoteQueue
from tej.queue.retry import Retries

__all__ = [
    "DEFAULT_TEJ_DIR",
    "Job",
    "JobSpec",
    "RemoteQueue",
    "Retries",
    "as_completed",
]
