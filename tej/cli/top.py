"""`tej top`: show the jobs of queues live, with the output of one job.

The screen, its keys and its refresh interval are in `top_screen.py`.
"""

from __future__ import annotations

import contextlib
import sys

import click

from tej.cli.command import open_queue, queue_command
from tej.cli.profile import current_profile, find_profile
from tej.cli.top_requests import ShownQueue
from tej.config import Profile
from tej.errors import Error
from tej.queue.remote import RemoteQueue

MISSING = "`tej top` needs the package textual: pip install 'tej[tui]'"


@queue_command("top", example="tej top lab --also cluster")
@click.option(
    "--also",
    "others",
    multiple=True,
    metavar="NAME",
    help="Also show the jobs of this profile or destination; may be repeated.",
)
def command(queue: RemoteQueue, others: tuple[str, ...], as_json: bool) -> None:
    """Show the jobs live, with the output of the chosen job.

    Arrow keys choose a job, k kills it, r starts it again, d downloads files, ? shows
    all keys, and q quits.
    """
    try:
        from tej.cli.top_screen import TopScreen
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "textual":
            raise
        raise Error(MISSING) from error
    # textual draws the screen on stderr, so stderr must be a terminal, too.
    if as_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError(
            "`tej top` needs a terminal. In a script, use `tej list --json`"
        )

    def shown(queue: RemoteQueue, profile: Profile) -> ShownQueue:
        # Connect before the screen is drawn, because a prompt of the login would
        # destroy the screen.
        queue.jobs()
        queue.transport.disable_prompts()
        results, ignore = profile.get("results"), profile.get("ignore")
        return ShownQueue(queue, tuple(results or ()), tuple(ignore or ()))

    with contextlib.ExitStack() as stack:
        shown_queues = [shown(queue, current_profile())]
        for word in others:
            profile, _ = find_profile((word,))
            other = stack.enter_context(open_queue(profile, (), False, creates=False))
            shown_queues.append(shown(other, profile))
        TopScreen(shown_queues).run()
