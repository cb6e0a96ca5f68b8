"""`--dry-run` of the commands that start a job: prints what would be submitted."""

from __future__ import annotations

from pathlib import Path

import click

from tej.cli import output
from tej.job.command import check_sent, find_command
from tej.job.dependencies import check_inputs
from tej.job.directory import Entry, scan
from tej.job.ignore import tree_size
from tej.job.signature import compute, make_id
from tej.job.spec import JobSpec, check_environment
from tej.job.status import check_job_id
from tej.queue.references import resolve
from tej.queue.remote import RemoteQueue

SHOWN = 20
"""Maximum number of files that are printed as text; JSON has all files."""

dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Print what would be submitted; start nothing."
)


def print_plan(
    queue: RemoteQueue, spec: JobSpec, *, is_signed: bool, as_json: bool
) -> None:
    """Print the files, the id, the command and the resources of a job.

    No server is contacted.  If `is_signed` is true, the id is made from the signature.
    Raises the errors of a submission whose cause is on this machine.
    """
    check_environment(spec.environment)
    directory = Path(spec.directory)
    command = find_command(directory, spec.script)
    tools: list[Path] = []
    ignored: list[Path] = []
    entries = list(
        scan(
            directory,
            everything=spec.everything,
            ignore=spec.ignore,
            left_out=tools,
            ignored=ignored,
        )
    )
    check_sent(command, entries, directory)
    needs = resolve(queue.connection, spec)
    check_inputs(needs, entries)
    job_id = None if spec.job_id is None else check_job_id(spec.job_id)
    if job_id is None and is_signed:
        job_id = make_id(compute(command, entries, spec.environment, needs))
    files = [entry for entry in entries if not entry.is_directory]
    size = sum(entry.size for entry in files if entry.is_file)
    resources = [] if spec.resources is None else list(spec.resources.lines())
    if as_json:
        output.print_json(
            {
                "id": job_id,
                "destination": queue.destination_string,
                "queue": str(queue.queue),
                "command": command.canonical,
                "files": {entry.path: entry.size for entry in files},
                "bytes": size,
                "left_out": [*map(str, tools), *map(str, ignored)],
                "environment": sorted(spec.environment),
                "resources": resources,
                "after": [*needs.ids],
            }
        )
        return
    output.say_line(f"Job:          {job_id or 'a new unique id'}")
    output.say_line(f"Queue:        {queue.queue} on {queue.destination_string}")
    output.say_line(f"Command:      {command.canonical}")
    print_files(files, size)
    for path in (*tools, *ignored):
        why = "a tool's" if path in tools else "ignored"
        output.say_line(f"Not sent:     {path} ({why}, {in_bytes(tree_size(path))})")
    if spec.environment:
        output.say_line(f"Environment:  {' '.join(sorted(spec.environment))}")
    if needs.ids:
        output.say_line(f"After:        {' '.join(needs.ids)}")
    if resources:
        output.say_line(f"Resources:    {' '.join(resources)}")


def print_files(files: list[Entry], size: int) -> None:
    """Print the number, the total size and the names of the files of a job."""
    noun = "file" if len(files) == 1 else "files"
    output.say_line(f"Sent:         {len(files)} {noun}, {in_bytes(size)}")
    for entry in files[:SHOWN]:
        output.say_line(f"              {entry.path} ({in_bytes(entry.size)})")
    if len(files) > SHOWN:
        output.say_line(f"              and {len(files) - SHOWN} more")


def in_bytes(size: int) -> str:
    """Return a size for people to read, such as `3.4 MB`."""
    from rich.filesize import decimal

    return decimal(size)
