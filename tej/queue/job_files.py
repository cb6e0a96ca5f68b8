"""Files of a job: list a directory on the server without downloading its files."""

from __future__ import annotations

from dataclasses import dataclass

from tej.job.job_id import check_job_reference
from tej.queue.connection import QueueConnection
from tej.queue.file_patterns import check_name
from tej.wire.records import parse_integer

_KINDS = {"d": "directory", "-": "file", "l": "link"}


@dataclass(frozen=True)
class JobFile:
    """An entry of a directory of a job."""

    name: str
    kind: str
    """"file", "directory", "link" (a symbolic link) or "other"."""
    size: int | None
    """Size in bytes; None if it is unknown."""
    target: str | None = None
    """Target of a symbolic link."""


def list_files(connection: QueueConnection, job_id: str, path: str) -> list[JobFile]:
    """Return the entries of a directory of a job; see `RemoteQueue.files`."""
    check_job_reference(job_id)
    answer = connection.request("ls", job_id, check_name(path))
    _ = answer.head["queue"]  # refuse an empty reply: the request has failed
    found = [
        JobFile(
            record["id"],
            _KINDS.get(record.get("mode", "")[:1], "other"),
            parse_integer(record.get("size")),
            record.get("target"),
        )
        for record in answer.jobs
    ]
    return sorted(found, key=lambda file: file.name)
