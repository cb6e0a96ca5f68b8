"""What users hold: a queue on a server, and the jobs in it."""

from tej.queue.job import Job
from tej.queue.remote import DEFAULT_TEJ_DIR, RemoteQueue

__all__ = ["DEFAULT_TEJ_DIR", "Job", "RemoteQueue"]
