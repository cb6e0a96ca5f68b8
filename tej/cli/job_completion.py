"""Shell completion (Tab key) of job ids, files and other arguments of a command.

A completion must be quick and must not prompt for a password, so errors and slow
servers give no completions.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING

import click

from tej.cli.destination_completion import complete_destination, fits
from tej.job.escaping import escape_line

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from tej.job.status import JobStatus
    from tej.queue.remote import RemoteQueue

TIMEOUT = 3.0
"""Maximum number of seconds for connecting to the server."""

Completer = Callable[[click.Context, click.Parameter, str], "list[CompletionItem]"]


def complete_words(arguments: tuple[str, ...]) -> Completer:
    """Return a function that completes a destination, jobs, files or a directory."""
    kind = arguments[-1] if arguments else ""

    def complete(
        context: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        words = context.params.get("words") or ()
        items = [] if words else complete_destination(incomplete)
        if kind == "[jobs...]" and "ids" in _names(context):
            items += complete_job(context, parameter, incomplete)
        elif kind == "[files...]" and "ids" in _names(context):
            items += complete_file(context, parameter, incomplete)
        elif "[directory]" in arguments:
            items.append(CompletionItem(incomplete, type="dir"))
        return items

    return complete


def _names(context: click.Context) -> set[str | None]:
    return {parameter.name for parameter in context.command.params}


def complete_job(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the jobs whose id starts with `incomplete`, the newest job first."""

    def find(queue: RemoteQueue, words: list[str]) -> list[CompletionItem]:
        return _matching_jobs(queue.jobs(), _words(context), incomplete)

    return _complete_from_queue(context, "[jobs...]", find)


def complete_file(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return completions of `incomplete`: jobs, or files if a job is given already."""
    from click.shell_completion import CompletionItem

    from tej.queue.job_search import find_job, newest_first

    ids = context.params.get("ids") or ()

    def find(queue: RemoteQueue, words: list[str]) -> list[CompletionItem]:
        jobs = newest_first(queue.jobs())
        named = [ids] if isinstance(ids, str) else [*ids, *words]
        if not named:
            return _matching_jobs(jobs, (), incomplete)
        job = find_job(named[0], jobs)
        if job is None:
            return []
        folder, slash, _ = incomplete.rpartition("/")
        files = queue.files(job.job_id, folder or ".")
        names = [f"{folder}{slash}{file.name}" for file in files]
        return [CompletionItem(name) for name in names if fits(name, incomplete)]

    return _complete_from_queue(context, "[files...]", find)


def _words(context: click.Context) -> tuple[str, ...]:
    # While click completes the value of an option, the words are in `args`, not in
    # `params`.
    return tuple(context.params.get("words") or context.args)


def _matching_jobs(
    jobs: Iterable[JobStatus], words: Collection[str], incomplete: str
) -> list[CompletionItem]:
    """Return the jobs that are not in `words` yet as completions, newest job first."""
    from click.shell_completion import CompletionItem

    from tej.queue.job_search import newest_first

    return [
        CompletionItem(job.job_id, help=escape_line(f"{job.state} {job.name}".strip()))
        for job in newest_first(jobs)
        if fits(job.job_id, incomplete) and job.job_id not in words
    ]


def _complete_from_queue(
    context: click.Context,
    kind: str,
    find: Callable[[RemoteQueue, list[str]], list[CompletionItem]],
) -> list[CompletionItem]:
    """Return the completions that `find` returns, or none if an error occurs.

    `find` is called with the queue and the words after the destination.  `kind`
    describes these words, such as "[jobs...]".
    """
    from tej.cli.profile import find_profile
    from tej.errors import Error
    from tej.queue.remote import RemoteQueue
    from tej.queue.retry_policy import Retries

    params = context.params
    given = {"queue": params["queue_path"]} if params.get("queue_path") else {}
    try:
        profile, words = find_profile(
            _words(context), (kind,), name=params.get("profile_name"), given=given
        )
        options = profile.options()
        options.pop("setup_runtime", None)
        options |= {"timeout": TIMEOUT, "io_timeout": TIMEOUT}
        with RemoteQueue(
            profile.get("destination"), retries=Retries(limit=1), **options
        ) as queue:
            return find(queue, words)
    except (Error, click.ClickException, OSError, ValueError):
        return []
