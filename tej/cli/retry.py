"""`tej retry`: start failed jobs again, with their own command and environment."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import click

from tej import errors
from tej.cli import output
from tej.cli.command import current_directory, queue_command
from tej.cli.job_options import everything
from tej.cli.job_selection import SelectedJobs, job_selection
from tej.cli.profile import current_profile
from tej.cli.resource_options import merge_resources, resources
from tej.job.directory import scan
from tej.job.directory_entry import Entry
from tej.job.file_content import read_files
from tej.job.signature import compute, make_id
from tej.job.spec import JobSpec
from tej.job.start_script import find_command
from tej.job.status import JobStatus
from tej.queue.job_search import newest_first
from tej.queue.remote import RemoteQueue
from tej.queue.stored_spec import JobParameters, read_parameters
from tej.queue.submission import Outcome


@dataclass(frozen=True)
class Files:
    """The files of a directory, which are read once for all jobs."""

    directory: str
    everything: bool
    ignore: tuple[str, ...]

    @cached_property
    def entries(self) -> list[Entry]:
        """The files that would be sent from the directory."""
        directory = Path(self.directory)
        found = scan(directory, everything=self.everything, ignore=self.ignore)
        return read_files(found)

    def signature(self, parameters: JobParameters) -> str:
        """Return the signature of a job with these files."""
        # Reading all files of a wrong directory, such as the home directory, may take
        # long. Therefore check first whether the directory contains the script.
        command = find_command(
            Path(self.directory),
            parameters.script,
            advice="name the directory of the job with --from DIR",
        )
        needs = parameters.needs
        return compute(command, self.entries, parameters.environment, needs)


@queue_command("retry", "[jobs...]", example="tej retry --failed --from .")
@job_selection(only=lambda job: job.failed, otherwise="have not failed")
@click.option(
    "--from",
    "source",
    metavar="DIR",
    help="Send the files in DIR for all these jobs.  [default: the same files as "
    "before, from .]",
)
@click.option(
    "-d",
    "--detach",
    is_flag=True,
    help="Print only the ids.  `tej retry` never waits for the jobs.",
)
@everything
@resources
def command(
    queue: RemoteQueue,
    jobs: SelectedJobs,
    source: str | None,
    detach: bool,
    everything: bool,
    resources: dict[str, Any],
    login: bool,
    as_json: bool,
) -> int:
    """Start failed jobs again, with the same command, variables, labels and resources.

    Without --from, the current directory must have the files with which the jobs were
    submitted.  With --from, a job whose id was made from its signature (a hash of its
    files and command) gets a new id if these files have changed, and the failed job is
    kept.  Any other job keeps its id, and the failed attempt is archived as ID#1 (the
    next one as ID#2).  Options for resources override the job's resources.
    """
    report = output.JobReport(as_json)
    failed = find_failed(queue, jobs, report)
    if not failed:
        return report.finish()
    parameters = read_parameters(queue.connection, failed)
    ignore = tuple(current_profile().get("ignore") or ())
    directory = source or current_directory("name the directory with --from DIR")
    files = Files(directory, everything, ignore)
    retried: list[JobStatus] = []
    specs: list[JobSpec] = []
    for status in failed:
        own = parameters[status.job_id]
        own = replace(own, login=own.login or login)
        try:
            job_id = find_id(status, files.signature(own), files, is_new=bool(source))
            specs.append(make_spec(job_id, status, own, files, resources))
            retried.append(status)
        except errors.Error as error:
            report.add(status.job_id, None, error=error)
    outcomes = queue.ensure_many(specs, retry=True)
    limits_changed = not {"walltime", "memory", "memory_per_cpu"}.isdisjoint(resources)
    for status in retried if not limits_changed else ():
        if hint := limit_hint(status):
            output.say_line(hint, err=True)
    report_outcomes(report, retried, outcomes, only_ids=detach)
    return report.finish()


def find_failed(
    queue: RemoteQueue, jobs: SelectedJobs, report: output.JobReport
) -> list[JobStatus]:
    """Return the status of each job that has failed, and report the other jobs.

    The jobs are sorted by submission time, oldest first, so that they start in the same
    order again.
    """
    found = jobs.statuses or queue.statuses(jobs.ids)
    failed: list[JobStatus] = []
    for job_id in dict.fromkeys(jobs.ids):
        status = found[job_id]
        error = why_not(queue, job_id, status)
        if error is not None:
            report.add(job_id, None, error=error)
        elif status is not None:
            failed.append(status)
    return newest_first(failed)[::-1]


def make_spec(
    job_id: str | None,
    status: JobStatus,
    own: JobParameters,
    files: Files,
    given: Mapping[str, Any],
) -> JobSpec:
    """Return the spec for the retry of a job.

    Resources in `given` override those of the earlier job.
    """
    return JobSpec(
        files.directory,
        own.script,
        job_id=job_id,
        name=given.get("name", status.name or None),
        labels=status.labels,
        environment=own.environment,
        resources=merge_resources(own.resources, given),
        login=own.login,
        everything=files.everything,
        ignore=files.ignore,
        after=own.needs.after,
        inputs=own.needs.origins(),
        parameters=status.parameters,
        on_end=own.on_end,
        shared=own.shared,
    )


def why_not(
    queue: RemoteQueue, job_id: str, status: JobStatus | None
) -> errors.Error | None:
    """Return the error for a job that cannot be retried; None if it can be retried."""
    if status is None:
        return queue.connection.job_not_found(job_id)
    if not status.state.final:
        return errors.JobStillRunning(
            f"Job '{job_id}' is not retried: it is {status.state}; kill it first"
        )
    if status.succeeded:
        return errors.JobAlreadyExists(
            f"Job '{job_id}' is not retried: it has succeeded; `tej run --again` "
            "starts a new job for the same work"
        )
    return None


def limit_hint(status: JobStatus) -> str | None:
    """Return a hint for a job that exceeded a limit.

    The hint does not say that the job is started again, because the retry may fail.
    """
    if status.cut_off != "limit":
        return None
    note = f" ({status.note})" if status.note else ""
    return (
        f"Job '{status.job_id}' exceeded a limit{note}; to change its limits, use "
        "--walltime and --memory"
    )


def find_id(
    status: JobStatus, digest: str, files: Files, *, is_new: bool
) -> str | None:
    """Return the id for the retry of a job; None for a new id.

    The new id is made from the signature of the files that are sent.

    `digest` is the signature of the job with the files in `files`.  If `is_new` is
    true, the files may differ from the job's earlier files.  If `is_new` is false,
    raises InvalidJobDirectory for other files.
    """
    old = status.signature
    if digest == old:
        return status.job_id
    if not is_new:
        raise errors.InvalidJobDirectory(
            f"Job '{status.job_id}' is not retried: its files differ from those "
            f"in '{files.directory}'; --from DIR sends the files in DIR"
        )
    if old is not None and re.fullmatch(make_id(old) + r"(-[0-9]+)?", status.job_id):
        # The id was made from the old signature, so it would be wrong for the new
        # files: `tej run` with the old files would find the job.
        return None
    return status.job_id


def report_outcomes(
    report: output.JobReport,
    jobs: Iterable[JobStatus],
    outcomes: Iterable[Outcome],
    *,
    only_ids: bool,
) -> None:
    """Report each job that was started again, found, or refused by the server.

    If `only_ids` is true, only the ids are printed, as `tej run --detach` does.
    """
    for job, outcome in zip(jobs, outcomes, strict=True):
        renamed = "" if outcome.job_id == job.job_id else f" as '{outcome.job_id}'"
        text = f"Job '{job.job_id}' started again{renamed}"
        if not outcome.is_new and outcome.status is not None:
            text = f"Job '{job.job_id}' found{renamed}: {outcome.status.describe()}"
        if only_ids:
            text = outcome.job_id
        more = {"retried": job.job_id, "is_new": outcome.is_new}
        report.add(outcome.job_id, outcome.status, text, outcome.error, more)
