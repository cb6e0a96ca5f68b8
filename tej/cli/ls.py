"""`tej ls`: list the files of a job."""

from __future__ import annotations

import sys

from tej.cli import output
from tej.cli.command import queue_command
from tej.cli.one_job_argument import one_job, refuse
from tej.job.formatting import format_size
from tej.queue.job_files import JobFile
from tej.queue.remote import RemoteQueue


@queue_command(
    "ls", "[files...]", usage="[JOB [PATH]]", example="tej ls train-1 results"
)
@one_job
def command(queue: RemoteQueue, job_id: str, files: list[str], as_json: bool) -> None:
    """List the files of a job, in its directory or in the directory PATH.

    Without a job, the latest job of this project is used.

    At a terminal, each line has the size and the name; in a pipe, only the name.  The
    names of directories end in "/".
    """
    refuse(files[1:])
    path = files[0] if files else "."
    found = queue.files(job_id, path)
    if as_json:
        documents = [
            {"name": one.name, "kind": one.kind, "size": one.size, "target": one.target}
            for one in found
        ]
        output.print_json({"id": job_id, "path": path, "files": documents})
        return
    for one in found:
        output.say_line(as_line(one) if sys.stdout.isatty() else as_name(one))


def as_name(file: JobFile) -> str:
    """Return the name of a file, with a slash at the end for a directory."""
    return file.name + ("/" if file.kind == "directory" else "")


def as_line(file: JobFile) -> str:
    """Return a file's size and name, and the target of a symbolic link."""
    size = "" if file.kind == "directory" else format_size(file.size)
    target = "" if file.target is None else f" -> {file.target}"
    return f"{size:>9}  {as_name(file)}{target}"
