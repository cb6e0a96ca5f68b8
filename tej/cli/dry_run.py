"""`--dry-run` of the commands that start a job: print what would be submitted."""

from __future__ import annotations

import shlex

import click

from tej import errors
from tej.cli import output
from tej.job.directory_entry import Entry
from tej.job.ignore import tree_size
from tej.job.spec import JobSpec
from tej.queue.dry_run import ServerPlan, plan_on_server, read_job
from tej.queue.prepared_job import PreparedJob
from tej.queue.remote import RemoteQueue

SHOWN = 20
"""Maximum number of files in the text output; the JSON output lists all files."""

dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Print what would be submitted; start nothing."
)


def print_plan(
    queue: RemoteQueue, spec: JobSpec, *, is_signed: bool, as_json: bool
) -> None:
    """Print the files, the id, the command and the resources of a job.

    If `is_signed` is true, the id is made from the signature.  If the server can be
    reached, print_plan also prints whether the job exists, and the arguments and the
    batch script for the scheduler.  Like a submission, print_plan raises an error if
    the directory or the options are invalid.
    """
    job = read_job(queue.connection, spec, is_signed=is_signed)
    is_new = not is_signed and spec.job_id is None
    unreachable: errors.ConnectionFailed | None = None
    plan = ServerPlan()
    if not as_json:
        print_job(queue, job, is_new=is_new)
    try:
        plan = plan_on_server(queue.connection, job, is_new=is_new)
    except errors.ConnectionFailed as error:
        unreachable = error
    if as_json:
        document = as_document(queue, job, plan, is_new=is_new)
        document["server_error"] = unreachable and output.error_of(unreachable)
        output.print_json(document)
    elif unreachable is not None:
        output.say(f"The server cannot be reached: {unreachable}", err=True)
    else:
        print_server_plan(plan)


def as_document(
    queue: RemoteQueue, job: PreparedJob, plan: ServerPlan, *, is_new: bool
) -> dict[str, object]:
    """Return the plan as a JSON object."""
    files = sent_files(job)
    return {
        "id": None if is_new else job.job_id,
        "destination": queue.destination_string,
        "queue": str(queue.queue),
        "command": job.command.canonical,
        "files": {entry.path: entry.size for entry in files},
        "bytes": job.size,
        "left_out": [*map(str, job.left_out), *map(str, job.ignored)],
        "environment": sorted(job.spec.environment),
        "resources": requested(job),
        "after": [*job.needs.ids],
        "shared": [*job.spec.shared],
        "on_end": job.spec.on_end or None,
        "existing": None if plan.existing is None else plan.existing.as_dict(),
        "runtime": plan.runtime,
        "directives": plan.directives,
        "scheduler_options": plan.options,
        "batch_script": plan.batch,
        "refusal": plan.refusal,
    }


def sent_files(job: PreparedJob) -> list[Entry]:
    """Return the files and links that would be sent."""
    return [entry for entry in job.entries if not entry.is_directory]


def requested(job: PreparedJob) -> list[str]:
    """Return the requested resources as KEY=VALUE."""
    resources = job.spec.resources
    return [] if resources is None else list(resources.lines())


def print_job(queue: RemoteQueue, job: PreparedJob, *, is_new: bool) -> None:
    """Print the part of the plan that is known without the server."""
    output.say_line(f"Job:          {'a new unique id' if is_new else job.job_id}")
    output.say_line(f"Queue:        {queue.queue} on {queue.destination_string}")
    output.say_line(f"Command:      {job.command.canonical}")
    print_files(sent_files(job), job.size)
    for path in (*job.left_out, *job.ignored):
        why = "tool file" if path in job.left_out else "ignored"
        output.say_line(f"Not sent:     {path} ({why}, {in_bytes(tree_size(path))})")
    if job.spec.environment:
        output.say_line(f"Environment:  {' '.join(sorted(job.spec.environment))}")
    if job.spec.shared:
        size = sum(entry.size for entry in job.entries if entry.is_shared)
        paths = " ".join(job.spec.shared)
        output.say_line(f"Shared:       {paths} ({in_bytes(size)})")
    if job.needs.ids:
        output.say_line(f"After:        {' '.join(job.needs.ids)}")
    if job.spec.on_end:
        output.say_line(f"On end:       {job.spec.on_end}")
    if resources := requested(job):
        output.say_line(f"Resources:    {' '.join(resources)}")


def print_server_plan(plan: ServerPlan) -> None:
    """Print the part of the plan that the server reports."""
    if plan.existing is not None:
        output.say_line(f"Exists:       {plan.existing.describe()}")
    if plan.runtime is None:
        output.say_line("Runtime:      unknown, because the queue does not exist yet")
        return
    output.say_line(f"Runtime:      {plan.runtime}")
    for line in plan.directives:
        output.say_line(f"Directive:    {line}")
    if plan.options is not None:
        output.say_line(f"Scheduler:    {shlex.join(plan.options)}")
    for number, line in enumerate(plan.batch or []):
        output.say_line(f"{'Batch script:' if number == 0 else '':13} {line}")
    if plan.refusal is not None:
        output.say_line(f"Refused:      {plan.refusal}")


def print_files(files: list[Entry], size: int) -> None:
    """Print the number, the total size and the names of the files of a job."""
    noun = "file" if len(files) == 1 else "files"
    output.say_line(f"Sent:         {len(files)} {noun}, {in_bytes(size)}")
    for entry in files[:SHOWN]:
        output.say_line(f"              {entry.path} ({in_bytes(entry.size)})")
    if len(files) > SHOWN:
        output.say_line(f"              and {len(files) - SHOWN} more")


def in_bytes(size: int) -> str:
    """Return a size in human-readable form, such as `3.4 MB`."""
    from rich.filesize import decimal

    return decimal(size)
