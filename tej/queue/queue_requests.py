"""Administration of a queue: setup, limit of running jobs, disk usage, removal."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from tej.errors import QueueNotFound
from tej.queue.connection import QueueConnection, log_warning, submitter
from tej.wire import requests
from tej.wire.records import parse_integer
from tej.wire.replies import parse_reply

logger = logging.getLogger("tej")


@dataclass(frozen=True)
class QueueInfo:
    """The properties of a queue, as the server reports them."""

    path: PurePosixPath
    """Absolute path of the queue on the server."""
    runtime: str
    """Name of the queue's runtime, such as "default" or "slurm"."""
    max_running: int | None
    """Maximum number of running jobs, or None if there is no limit."""


def set_up(
    connection: QueueConnection,
    links: Iterable[str | PurePosixPath],
    force: int,
    only_links: bool,
    max_running: int | None,
) -> PurePosixPath:
    """Create a queue and the links to it; see `RemoteQueue.setup`."""
    program = requests.setup(
        connection.path,
        connection.runtime,
        [str(link) for link in links],
        scripts=connection.scripts,
        force=force,
        only_links=only_links,
        version=connection.version,
        trusted=connection.trust_queue,
    )
    removals = connection.removals
    answer = parse_reply(connection.run(program).data, "setup")
    log_warning(connection, answer)
    logger.info("Queue at %s", answer.head["queue"])
    connection.note_seen(removals)
    if max_running is not None:
        set_limit(connection, max_running)
    return PurePosixPath(answer.head["queue"])


def set_limit(connection: QueueConnection, max_running: int) -> None:
    """Limit the number of running jobs; see `RemoteQueue.limit`."""
    if max_running < 0:
        raise ValueError(f"max_running must be 0 or more, not {max_running}")
    # Check that the reply contains `queue`.  The exit status 0 does not prove that the
    # request succeeded, because a forced command of the SSH server may always exit with
    # 0.
    _ = connection.request("limit", str(int(max_running))).head["queue"]


def get_info(connection: QueueConnection) -> QueueInfo:
    """Return the properties of the queue; see `RemoteQueue.info`."""
    head = connection.request("queue").head
    limit = parse_integer(head.get("max_running"))
    return QueueInfo(PurePosixPath(head["queue"]), head["runtime"], limit or None)


@dataclass(frozen=True)
class DiskUsage:
    """Disk space that a queue uses on the server, in bytes, as `du` reports it."""

    total: int
    """Size of the whole queue, which includes the scripts of tej."""
    store: int
    """Size of the content store, which holds files for reuse by later uploads."""
    attempts: int
    """Total size of the archived attempts of all jobs."""
    jobs: dict[str, int]
    """Size of each job's directory, by job id."""


def get_disk_usage(connection: QueueConnection) -> DiskUsage:
    """Return the disk usage of the queue; see `RemoteQueue.disk_usage`."""

    def in_bytes(record: Mapping[str, str], key: str) -> int:
        return (parse_integer(record.get(key)) or 0) * 1024

    answer = connection.request("sizes")
    _ = answer.head["queue"]  # refuse an empty reply: the request has failed
    return DiskUsage(
        total=in_bytes(answer.head, "total"),
        store=in_bytes(answer.head, "store"),
        attempts=in_bytes(answer.head, "attempts"),
        jobs={record["id"]: in_bytes(record, "size") for record in answer.jobs},
    )


def remove(connection: QueueConnection, *, kill: bool, grace: int) -> bool:
    """Remove a queue with its jobs and links; see `RemoteQueue.cleanup`."""

    def attempt(failures: int) -> bool:
        if failures:
            # Accept a missing queue: an earlier request, whose reply was lost, may have
            # removed the queue.
            connection.last_seen = None
        try:
            words = (str(int(kill)), str(int(grace)), submitter())
            answer = connection.request_once("cleanup", *words)
            # As in `set_limit`, the exit status does not prove the success.  The digest
            # is "any" if older server scripts stay in use, for example because the disk
            # is full; older scripts do not print `removed`.
            if connection.digest != "any":
                _ = answer.head["removed"]
        except QueueNotFound:
            if not failures:
                raise
        connection.note_removed()
        return True

    return connection.with_retries(attempt)
