"""Completion of jobs and other words of a command in a shell.

A completion must be quick and must not prompt for a password, so errors and slow
servers give no completions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from tej.cli.destination_completion import complete_destination, fits
from tej.job.escaping import escape_line

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

TIMEOUT = 3.0
"""Maximum number of seconds for connecting to the server."""

Completer = Callable[[click.Context, click.Parameter, str], "list[CompletionItem]"]


def complete_words(arguments: tuple[str, ...]) -> Completer:
    """Return a function that completes a destination, jobs or a directory."""
    kind = arguments[-1] if arguments else ""

    def complete(
        context: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        words = context.params.get("words") or ()
        items = [] if words else complete_destination(incomplete)
        if kind in ("[jobs...]", "[files...]") and "ids" in _names(context):
            items += complete_job(context, parameter, incomplete)
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
    from click.shell_completion import CompletionItem

    from tej.cli.profile import find_profile
    from tej.errors import Error
    from tej.queue.job_search import newest_first
    from tej.queue.remote import RemoteQueue
    from tej.queue.retry_policy import Retries

    params = context.params
    given = {"queue": params["queue_path"]} if params.get("queue_path") else {}
    # While click completes the value of an option, the words are in `args`, not in
    # `params`.
    words = tuple(params.get("words") or context.args)
    try:
        profile, _ = find_profile(
            words, ("[jobs...]",), name=params.get("profile_name"), given=given
        )
        options = profile.options()
        options.pop("setup_runtime", None)
        options |= {"timeout": TIMEOUT, "io_timeout": TIMEOUT}
        with RemoteQueue(
            profile.get("destination"), retries=Retries(limit=1), **options
        ) as queue:
            jobs = newest_first(queue.jobs())
    except (Error, click.ClickException, OSError, ValueError):
        return []
    return [
        CompletionItem(job.job_id, help=escape_line(f"{job.state} {job.name}".strip()))
        for job in jobs
        if fits(job.job_id, incomplete) and job.job_id not in words
    ]
