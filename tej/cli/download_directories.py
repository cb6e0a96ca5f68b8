"""Local directories of downloaded jobs, from a template such as 'out/{SEED}'."""

from __future__ import annotations

import re
from collections.abc import Mapping

import click

from tej.job.status import JobStatus

_FIELD = re.compile(r"\{([^{}]*)\}")


def make_folders(template: str, jobs: Mapping[str, JobStatus]) -> dict[str, str]:
    """Return the directory of each job, by the job's id.

    `{NAME}` is replaced by the parameter or the label NAME of the job; `{id}` and
    `{name}` by its id and name.  Raises click.UsageError if a job has no value for a
    field, if a value is not a valid file name, or if two jobs would have the same
    directory.
    """
    folders: dict[str, str] = {}
    owners: dict[str, str] = {}
    for job_id, job in jobs.items():
        folder = _fill(template, job_id, job)
        if folder in owners:
            raise click.UsageError(
                f"--into: the jobs '{owners[folder]}' and '{job_id}' would both be "
                f"written to '{folder}': add {{id}} or another parameter"
            )
        owners[folder] = job_id
        folders[job_id] = folder
    return folders


def _fill(template: str, job_id: str, job: JobStatus) -> str:
    values = {"id": job_id, "name": job.name, **job.labels, **job.parameters}

    def value(field: re.Match[str]) -> str:
        found = values.get(field[1])
        if found is None:
            known = ", ".join(values)
            raise click.UsageError(
                f"--into: job '{job_id}' has no value for {field[0]}; it has values "
                f"for {known}. To download only jobs with this parameter, add "
                f"--param {field[1]}"
            )
        # The value comes from the server, and must not name a path outside the local
        # directory.
        if found in ("", ".", "..") or not re.fullmatch(r"[^/\\\0]*", found):
            raise click.UsageError(
                f"--into: {field[0]} of job '{job_id}' is not a file name: {found!r}"
            )
        return found

    return _FIELD.sub(value, template)
