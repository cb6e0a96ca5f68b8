"""Download of files from one or several jobs."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from tej.errors import Error
from tej.job.job_id import check_job_reference
from tej.queue.connection import QueueConnection, check_job_ids, submitter
from tej.queue.download_receiver import Download, Downloaded, Receiver, receive_all
from tej.queue.file_patterns import check_name

__all__ = [
    "Downloaded",
    "check_name",
    "download",
    "download_many",
    "note_downloaded",
    "receive",
]

logger = logging.getLogger("tej")


def download(
    connection: QueueConnection,
    job_id: str,
    files: str | Sequence[str],
    destination: str | os.PathLike[str] | None,
    directory: str | os.PathLike[str] | None,
    *,
    recursive: bool,
    flatten: bool,
    progress: Callable[[int], object] | None,
) -> list[Path]:
    """Download files of one job; see `RemoteQueue.download`."""
    check_job_reference(job_id)
    names = [files] if isinstance(files, str) else list(files)
    wanted = Download(
        names, destination, directory, recursive=recursive, flatten=flatten
    )
    outcome = receive(connection, {job_id: wanted}, progress)[job_id]
    if outcome.error is not None:
        raise outcome.error
    return outcome.files


def download_many(
    connection: QueueConnection,
    wanted: Mapping[str, str | Sequence[str]] | Iterable[str],
    files: str | Sequence[str] | None,
    directory: str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]] | None,
    *,
    flatten: bool,
    progress: Callable[[int], object] | None,
) -> dict[str, Downloaded]:
    """Download files of several jobs; see `RemoteQueue.download_many`."""
    if not isinstance(wanted, Mapping):
        wanted = dict.fromkeys(wanted, files or ())
    elif files is not None:
        raise TypeError(
            "'files' must be omitted if a mapping already names the files of each job"
        )
    if isinstance(directory, Mapping):
        folders = {job_id: Path(folder) for job_id, folder in directory.items()}
    else:
        parent = Path("." if directory is None else directory)
        folders = {job_id: parent / job_id for job_id in wanted}
    downloads = {
        check_job_reference(job_id): Download(
            [names] if isinstance(names, str) else list(names),
            None,
            folders[job_id],
            recursive=True,
            flatten=flatten,
        )
        for job_id, names in wanted.items()
    }
    return receive(connection, downloads, progress)


def note_downloaded(connection: QueueConnection, job_ids: Iterable[str]) -> None:
    """Record that files of jobs were downloaded; see `RemoteQueue.note_downloaded`."""
    wanted = check_job_ids(job_ids)
    if not wanted:
        return
    words = [submitter()]
    for job_id in wanted:
        words.append(job_id)
        # The token identifies the attempt: the job may have been retried since.
        if token := connection.downloaded_tokens.get(job_id):
            words.append(f"/{token}")
    try:
        connection.request("note_downloaded", *words)
    except Error as error:
        logger.info("The download could not be recorded on the server: %s", error)


def receive(
    connection: QueueConnection,
    downloads: Mapping[str, Download],
    progress: Callable[[int], object] | None = None,
) -> dict[str, Downloaded]:
    """Request the downloads, and return the outcome of each download.

    After a lost connection, only the downloads that are not yet complete are requested
    again.
    """
    done = {one: Downloaded([]) for one in downloads if not downloads[one].patterns}

    def request(receiver: Receiver) -> None:
        connection.run_verb("download", *receiver.arguments, take=receiver.take)

    connection.with_retries(lambda _: receive_all(downloads, done, request, progress))
    for job_id, outcome in done.items():
        if outcome.error is not None:
            explained = connection.explain(outcome.error)
            done[job_id] = Downloaded(outcome.files, explained)
        else:
            connection.downloaded_tokens[job_id] = outcome.token
    return {job_id: done[job_id] for job_id in downloads}
