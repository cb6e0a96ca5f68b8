"""Options `--after` and `--input`: the dependencies of a job on other jobs."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from tej.cli.job_completion import complete_job
from tej.cli.option_values import parse_pairs
from tej.cli.sectioned_option import Option
from tej.errors import QueueNotFound
from tej.job.dependencies import split_input
from tej.job.job_id import ID_DIGITS, ID_PREFIX, check_job_id
from tej.queue.job_search import find_job, newest_first

if TYPE_CHECKING:
    from tej.queue.remote import RemoteQueue

Function = TypeVar("Function", bound=Callable[..., Any])


def dependencies(function: Function) -> Function:
    """Add the options `--after` and `--input` to a command.

    The command receives `after`, a tuple of words that identify jobs, and `inputs`, a
    dictionary from each PATH to the word that identifies the other job and the path of
    the file in the other job.  `find_needed` finds the jobs that the words identify.
    """

    @functools.wraps(function)
    def command(
        *arguments: Any,  # noqa: ANN401 (passed on)
        inputs: tuple[str, ...],
        **others: Any,  # noqa: ANN401 (passed on)
    ) -> Any:  # noqa: ANN401
        pairs = parse_pairs(inputs, "input", "PATH=JOB:PATH")
        origins = {path: split_input(origin) for path, origin in pairs.items()}
        return function(*arguments, inputs=origins, **others)

    option = functools.partial(
        click.option, cls=Option, section="Jobs that must succeed first", multiple=True
    )
    for add in (
        option(
            "--input",
            "inputs",
            metavar="PATH=JOB:PATH",
            help="Copy a file of another job on the server to PATH; may be repeated.",
        ),
        option(
            "--after",
            metavar="JOB",
            shell_complete=complete_job,
            help="Start after this job has succeeded; may be repeated.",
        ),
    ):
        command = add(command)
    return cast("Function", command)


_COMPLETE_ID = re.compile(rf"{ID_PREFIX}[0-9a-f]{{{ID_DIGITS}}}(-[0-9]+)?")


def find_needed(
    queue: RemoteQueue,
    after: tuple[str, ...],
    inputs: Mapping[str, tuple[str, str]],
) -> tuple[tuple[str, ...], dict[str, tuple[str, str]]]:
    """Return `after` and `inputs`, with words replaced by the complete ids of jobs.

    No request is sent if all words are ids made from signatures.  An id that is not in
    the queue is returned unchanged, and the server reports the missing job.  If the
    dependent job itself already exists, the missing job is no longer needed, and the
    server reports no error.  Raises JobNotFound for `@N` without a job, AmbiguousJob,
    and InvalidJobId.
    """
    words = {*after, *(job for job, _ in inputs.values())}
    if all(map(_COMPLETE_ID.fullmatch, words)):
        return after, dict(inputs)
    try:
        jobs = newest_first(queue.jobs())
    except QueueNotFound:
        jobs = []

    def id_of(word: str) -> str:
        if job := find_job(word, jobs):
            return job.job_id
        if word.startswith("@"):
            raise queue.connection.job_not_found(word)
        return check_job_id(word)

    return (
        tuple(map(id_of, after)),
        {path: (id_of(job), source) for path, (job, source) in inputs.items()},
    )
