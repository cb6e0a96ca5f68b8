"""Selection of jobs for a command: by words, by --id, or by filters such as --failed.

The decorator `job_selection` adds the options to a command, finds the jobs with at most
one request, and passes them to the command as `jobs`.
"""

from __future__ import annotations

import functools
import os
import shlex
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import click

from tej.cli import output
from tej.cli.common_options import LABEL, PARAMETER, SINCE, STATE
from tej.cli.job_completion import complete_job
from tej.cli.option_values import parse_pairs, parse_parameters
from tej.cli.profile import current_profile
from tej.cli.sectioned_option import Option
from tej.errors import JobNotFound
from tej.job.status import JobState, JobStatus
from tej.queue.job_filters import select
from tej.queue.job_search import find_job, newest_first

if TYPE_CHECKING:
    from tej.queue.remote import RemoteQueue

Function = TypeVar("Function", bound=Callable[..., Any])

HOW_TO_NAME = (
    "Give a job: its id, the start of its id, its name, or @ for the latest job; or "
    "select jobs with --failed, --running, --state, --label, --param, --since or --all"
)


class SelectedJobs(NamedTuple):
    """The jobs that a command works on."""

    ids: tuple[str, ...]
    statuses: Mapping[str, JobStatus] = MappingProxyType({})
    """Status of each job when it was found; may be empty, for example after --id."""
    by_filter: bool = False
    """Whether a filter, such as --failed, selected the jobs."""
    skipped: int = 0
    """Number of jobs that match the filters, but that the command cannot work on."""
    was_searched: bool = False
    """Whether the jobs were found by a prefix, a name or a position, or by default."""

    @property
    def is_list(self) -> bool:
        """Whether the output has the format for several jobs."""
        return self.by_filter or len(self.ids) > 1

    def prefix(self, job_id: str, job: JobStatus | None) -> str:
        """Return the prefix of a job's output lines: its id, or "" for a single id."""
        is_needed = self.is_list or self.was_searched
        return f"{output.title(job_id, job)}: " if is_needed else ""


def _option(*names: str, **settings: Any) -> Callable[[Function], Function]:  # noqa: ANN401
    return click.option(*names, cls=Option, section="Selection of jobs", **settings)


OPTIONS: tuple[Callable[[Any], Any], ...] = (
    _option(
        "--id",
        "ids",
        multiple=True,
        metavar="ID",
        shell_complete=complete_job,
        help="Id of the job; may be repeated.",
    ),
    _option("--failed", is_flag=True, help="Jobs that ended without success."),
    _option("--running", is_flag=True, help="Jobs in the state running."),
    _option("--state", "states", help="Jobs in this state; may be repeated.", **STATE),
    _option("--label", "labels", **LABEL),
    _option("--param", "parameters", **PARAMETER),
    _option("--since", **SINCE),
    _option("--all", "all_", is_flag=True, help="All jobs of the queue."),
)


def job_selection(
    *,
    latest: bool = False,
    every: bool = False,
    before_files: bool = False,
    all_with: str = "",
    only: Callable[[JobStatus], bool] = lambda job: True,
    otherwise: str = "",
) -> Callable[[Function], Function]:
    """Return a decorator that passes the selected jobs to a command as `jobs`.

    If no job is given, `latest` selects the latest job of the current project.  `every`
    selects all jobs of the queue, and so does the option named `all_with`, if the user
    has set it.  If `before_files` is true, the job is the first of the words `files`,
    unless an option selects the jobs.  Filters select only jobs for which `only`
    returns true; `otherwise` is the reason why the command does not work on other jobs,
    such as "have not ended".  If the filters select no job, the command is not called.
    """

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def command(queue: RemoteQueue, **given: Any) -> Any:  # noqa: ANN401 (any exit)
            filters = {name: given.pop(name) for name in FILTERS}
            is_selected = bool(given["ids"]) or any(filters.values())
            if given.get(all_with) and not is_selected:
                filters["all_"] = is_selected = True
            words = [] if before_files else given.pop("jobs")
            if before_files:
                words, given["files"] = _split_files(given["files"], not is_selected)
            if every and not is_selected and not words:
                filters["all_"] = True
            if any(filters.values()):
                if given["ids"]:
                    raise click.UsageError("--id cannot be combined with filters")
                jobs = _filter_jobs(queue, only, **filters)
                if not jobs.ids:
                    return _report_none(jobs, otherwise, as_json=given["as_json"])
            elif given["ids"]:
                jobs = SelectedJobs(given["ids"])
            else:
                jobs = find_jobs(queue, words, latest=latest)
            given.pop("ids")
            return function(queue, **{**given, "jobs": jobs})

        for option in reversed(OPTIONS):
            command = option(command)
        return cast("Function", command)

    return decorate


def _split_files(words: list[str], has_job: bool) -> tuple[list[str], list[str]]:
    """Split the words of `tej download` into the job and the files.

    If `has_job` is true, the first word is the job.  Without files, the files
    listed under `results` in the profile are fetched.
    """
    job, files = (words[:1], words[1:]) if has_job else ([], words)
    files = files or list(current_profile().get("results") or ())
    if not files:
        message = "Missing argument 'FILES...': "
        if job:
            message += f"'{job[0]}' is the job: add its files, which `tej ls` lists; "
            message += f"for a file of the latest job, write `@ {shlex.quote(job[0])}`"
        else:
            message += "give files, or set `results` in the profile"
        raise click.UsageError(message)
    return job, files


FILTERS = ("failed", "running", "states", "labels", "parameters", "since", "all_")
"""Parameters of the options that filter jobs."""


def _filter_jobs(
    queue: RemoteQueue,
    only: Callable[[JobStatus], bool],
    *,
    failed: bool,
    running: bool,
    states: tuple[str, ...],
    labels: tuple[str, ...],
    parameters: tuple[str, ...],
    since: Any,  # noqa: ANN401 (a datetime, a timedelta or None)
    all_: bool,
) -> SelectedJobs:
    """Return the jobs that match all filters.

    --failed, --running and --state count as one filter, which a job matches if it
    matches at least one of these options.
    """
    if all_ and (failed or running or states or labels or parameters or since):
        raise click.UsageError("--all cannot be combined with other filters")
    if running:
        states = (*states, JobState.RUNNING.value)
    found = select(
        queue.jobs(),
        states=states,
        failed=failed,
        labels=parse_pairs(labels, "label"),
        parameters=parse_parameters(parameters),
        since=since,
    )
    chosen = {job.job_id: job for job in newest_first(found) if only(job)}
    return SelectedJobs(tuple(chosen), chosen, True, len(found) - len(chosen))


def _report_none(jobs: SelectedJobs, otherwise: str, *, as_json: bool) -> int:
    if as_json:
        output.print_json({"jobs": []})
    elif jobs.skipped:
        output.say(
            f"Nothing to do. Jobs that match, but {otherwise}: {jobs.skipped}", err=True
        )
    else:
        output.say("No job matches", err=True)
    return 0


def find_jobs(
    queue: RemoteQueue, words: Iterable[str], *, latest: bool
) -> SelectedJobs:
    """Return the jobs that the words identify.

    Without words, returns the latest job of the project if `latest` is true; if not,
    raises click.UsageError.  Raises JobNotFound or AmbiguousJob if a word does not
    match exactly one job, or if the project has no job.
    """
    words = list(words)
    if not words and not latest:
        raise click.UsageError(HOW_TO_NAME)
    jobs = newest_first(queue.jobs())
    if not words:
        latest_job = _latest_of_project(queue, jobs)
        one = {latest_job.job_id: latest_job}
        return SelectedJobs(tuple(one), one, was_searched=True)
    found: dict[str, JobStatus] = {}
    for word in words:
        base, hash_, attempt = word.partition("#")
        job = find_job(base, jobs)
        if job is None:
            raise _not_found(queue, word)
        found[job.job_id + hash_ + attempt] = job
    # `found` is not used if an archived attempt (ID#N) is selected, because `found` has
    # the status of the latest attempt instead.
    statuses = {} if any("#" in job_id for job_id in found) else found
    return SelectedJobs(tuple(found), statuses, was_searched=list(found) != words)


def _not_found(queue: RemoteQueue, word: str) -> JobNotFound:
    error = queue.connection.job_not_found(word)
    return JobNotFound(
        f"{error}; if '{word}' is a destination, write ssh://{word}"
        if word.replace("-", "").replace(".", "").isalnum()
        else str(error)
    )


def _latest_of_project(queue: RemoteQueue, jobs: list[JobStatus]) -> JobStatus:
    """Return the latest job that has the name of a directory of this project.

    By default, the name of a job is the name of its directory.
    """
    names = project_names()
    for job in jobs:
        if job.name in names:
            return job
    raise JobNotFound(
        f"No job of the directory '{Path.cwd().name}' is in queue '{queue.queue}' "
        f"on '{queue.destination_string}'; give a job, or @ for the latest job of the "
        "queue"
    )


def project_names() -> set[str]:
    """Return the names that jobs of this project have.

    By default, a job has the name of its directory.  The result contains the names of
    the current directory, of the directory with the project's file, and of all their
    subdirectories, one level deep.
    """
    from tej.config import find_project_file

    file = find_project_file()
    places = {Path.cwd(), Path.cwd() if file is None else file.parent}
    return {place.name for place in places}.union(*map(_subdirectories, places))


def _subdirectories(place: Path) -> set[str]:
    """Return the names of the directories in a directory; empty if it is unreadable."""
    try:
        with os.scandir(place) as found:
            return {entry.name for entry in found if entry.is_dir()}
    except OSError:
        return set()
