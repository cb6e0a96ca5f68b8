"""Dry run of a submission: ask the server what it would do with a job."""

from __future__ import annotations

from dataclasses import dataclass, field

from tej.errors import QueueNotFound
from tej.job.spec import JobSpec
from tej.job.status import JobStatus
from tej.queue.connection import QueueConnection, submitter
from tej.queue.dependency_references import resolve
from tej.queue.prepared_job import PreparedJob
from tej.queue.status_requests import get_statuses
from tej.server.scripts import sent_script
from tej.wire.replies import parse_reply
from tej.wire.requests import command, program

HEAD = 64 * 1024
"""Number of bytes at the start of a script that are searched for directives."""


@dataclass(frozen=True)
class ServerPlan:
    """The reply of the server to a dry run."""

    existing: JobStatus | None = None
    """Status of the job with the same id, or None if there is no such job."""
    runtime: str | None = None
    """Runtime of the queue, or None if the queue does not exist."""
    directives: list[str] = field(default_factory=list)
    """Scheduler directives in the job's script, without the options that the resources
    of the JobSpec override."""
    options: list[str] | None = None
    """Arguments of the scheduler's submit command; None without a scheduler."""
    batch: list[str] | None = None
    """Lines of the batch script for the scheduler; None without a scheduler."""
    refusal: str | None = None
    """Reason why the scheduler would refuse the job."""


def read_job(
    connection: QueueConnection, spec: JobSpec, *, is_signed: bool
) -> PreparedJob:
    """Return the job as it would be submitted.

    If `is_signed` is false, a job without an id gets a new unique id instead of the id
    made from its signature.
    """
    return PreparedJob(
        spec,
        connection.user,
        submitter(),
        signed=True,
        new_id=not is_signed,
        needs=resolve(connection, spec),
    )


def plan_on_server(
    connection: QueueConnection, job: PreparedJob, *, is_new: bool
) -> ServerPlan:
    """Return what the server would do with a job, without submitting the job.

    If `is_new` is true, the job has a new unique id, so that no status is requested.
    """
    try:
        existing = None
        if not is_new:
            existing = get_statuses(connection, [job.job_id])[job.job_id]
        head = _run_plan_script(connection, job, "ID" if is_new else job.job_id)
    except QueueNotFound:
        return ServerPlan()
    options, batch = head.get("options"), head.get("batch")
    return ServerPlan(
        existing,
        head.get("runtime"),
        head.get("directives", "").splitlines(),
        None if options is None else options.splitlines(),
        None if batch is None else batch.splitlines(),
        head.get("why"),
    )


def _run_plan_script(
    connection: QueueConnection, job: PreparedJob, job_id: str
) -> dict[str, str]:
    """Return the reply of `plan_job.sh`, which also works with older server scripts."""
    lines = job.resource_lines()
    script = next((one for one in lines if one.startswith("script=")), None)
    comments = ""
    if script is not None:
        lines = [*(one for one in lines if one != script), "script=script"]
        with (job.folder / script.removeprefix("script=")).open("rb") as file:
            text = file.read(HEAD).decode("utf-8", "surrogateescape")
        # The lines after the first command are sent, too, because Grid Engine reads
        # directives in the whole script. Each command is sent as the empty command `:`,
        # because the other schedulers stop reading directives at the first command.
        comments = "\n".join(
            line if line.lstrip().startswith("#") or not line.strip() else ":"
            for line in text.splitlines()
        )
    arguments = command("\n".join(lines), comments, job_id)
    request = (
        f"open_queue {command(connection.path, 'any')}\n"
        f"need {command(*connection.needed)}\n"
        f"set -- {arguments}\n{sent_script('plan_job.sh')}"
    )

    def attempt(_: int) -> dict[str, str]:
        sent = program("plan", request, trusted=connection.trust_queue)
        return dict(parse_reply(connection.run(sent).data).head)

    return connection.with_retries(attempt)
