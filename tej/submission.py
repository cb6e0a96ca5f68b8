"""Names of the module `tej.submission` of tej 0.6, for compatibility."""

from tej.destination import destination_as_string, parse_ssh_destination
from tej.job.job_id import make_unique_name
from tej.queue.default_queue import DEFAULT_TEJ_DIR
from tej.queue.remote import RemoteQueue
from tej.queue.server_log import ServerLogger

__all__ = [
    "DEFAULT_TEJ_DIR",
    "RemoteQueue",
    "ServerLogger",
    "destination_as_string",
    "make_unique_name",
    "parse_ssh_destination",
]
