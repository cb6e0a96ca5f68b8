"""A queue on a server, and the jobs in it."""

from tej.job.spec import JobSpec
from tej.queue.batch import Batch, Run, RunResult, run_many
from tej.queue.completed import as_completed
from tej.queue.connection import DEFAULT_TEJ_DIR
from tej.queue.download import Downloaded
from tej.queue.management import Killed
from tej.queue.remote import Job, RemoteQueue
from tej.queue.retry import Retries
from tej.queue.shared import close_shared_queues, shared_queue
from tej.queue.submission import Outcome

__all__ = [
    "DEFAULT_TEJ_DIR",
    "Batch",
    "Downloaded",
    "Job",
    "JobSpec",
    "Killed",
    "Outcome",
    "RemoteQueue",
    "Retries",
    "Run",
    "RunResult",
    "as_completed",
    "close_shared_queues",
    "run_many",
    "shared_queue",
]
