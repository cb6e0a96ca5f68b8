"""Requests of `tej top`: read output in lines, start jobs again, download files."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

from tej import errors
from tej.cli.retry import Files, find_id, make_spec, why_not
from tej.job.status import JobStatus
from tej.queue.logs import LineSplitter, Logs, Piece
from tej.queue.remote import RemoteQueue
from tej.queue.stored_spec import read_parameters


@dataclass(eq=False)
class ShownQueue:
    """A queue whose jobs are shown."""

    queue: RemoteQueue
    results: tuple[str, ...] = ()
    """Patterns of the files to download, which the profile sets."""
    ignore: tuple[str, ...] = ()
    """Patterns of the files that are not sent, which the profile sets."""
    jobs: list[JobStatus] = field(default_factory=list)
    trouble: str = ""
    """Reason why the last request failed."""
    changed: threading.Event = field(default_factory=threading.Event)
    """Event that the screen sets to request the jobs immediately."""


Chosen = tuple[ShownQueue, str, int]
"""The queue, the id and the number of the attempt of a job."""


def read_lines(
    logs: Logs, splitters: dict[str, LineSplitter]
) -> list[tuple[str, bool]]:
    """Return the lines that a job has printed since the last call.

    Each line has a flag: whether the line is from stderr.  `splitters` keeps incomplete
    lines between calls.  If the output cannot be read, the error is the last line.
    """
    lines: list[tuple[str, bool]] = []

    def add(name: str, found: list[bytes]) -> None:
        for line in found:
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            lines.append((text, name == "_stderr"))

    def take(piece: Piece) -> None:
        # A progress bar uses `\r` to overwrite its line.  Show each version of the line
        # as a line of its own, because the output cannot overwrite lines.
        data = piece.data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        add(piece.name, splitters[piece.name].feed(data))

    if logs.status is None or not logs.status.state.final:
        try:
            logs.read(take)
        except errors.Error as error:
            lines.append((str(error), True))
        if logs.status is not None and logs.status.state.final:
            for name, splitter in splitters.items():
                add(name, splitter.finish())
    return lines


def retry(shown: ShownQueue, job_id: str) -> str:
    """Start a failed job again, like `tej retry`; return the text for the user."""
    queue = shown.queue
    status = queue.statuses([job_id])[job_id]
    error = why_not(queue, job_id, status)
    if error is not None or status is None:
        raise error or queue.connection.job_not_found(job_id)
    own = read_parameters(queue.connection, [status])[job_id]
    try:
        files = Files(".", everything=False, ignore=shown.ignore)
        new_id = find_id(status, files.signature(own), files, is_new=False)
    except errors.InvalidJobDirectory as wrong:
        raise errors.InvalidJobDirectory(
            f"{wrong}; `tej top` sends the files in the directory where it was started"
        ) from wrong
    (outcome,) = queue.ensure_many(
        [make_spec(new_id, status, own, files, {})], retry=True
    )
    if outcome.error is not None:
        raise outcome.error
    return f"Job '{new_id}' started again"


def download(shown: ShownQueue, job_id: str, patterns: list[str]) -> str:
    """Download files of a job; return the text for the user."""
    paths = shown.queue.download(job_id, patterns, directory=Path(job_id))
    shown.queue.note_downloaded([job_id])
    noun = "file" if len(paths) == 1 else "files"
    return f"Downloaded {len(paths)} {noun} to ./{job_id}"
