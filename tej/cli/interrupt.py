"""Ctrl-C in `tej run`: kills the job, or prints the commands to follow and to kill it.

Ctrl-C in all other commands is handled in `main.py`.
"""

from __future__ import annotations

import os
import shlex
import time

from tej import errors
from tej.cli import output
from tej.cli.exit_status import INTERRUPTED
from tej.cli.profile import current_profile
from tej.config.profile import COMMAND_LINE
from tej.job.status import JobStatus
from tej.queue.default_queue import DEFAULT_TEJ_DIR
from tej.queue.job import Job
from tej.queue.remote import RemoteQueue

MAX_REQUESTS = 4
"""Maximum number of status requests for a job whose submission was interrupted."""


def interrupted_while_sent(job: Job[RemoteQueue], kill: bool, grace: int) -> int:
    """Handle Ctrl-C during the submission, when it is unknown whether the job exists.

    Returns the exit status of the command.
    """
    try:
        status = find_submitted(job)
    except (
        errors.ConnectionFailed,
        errors.QueueLinkBroken,
        errors.RemoteCommandFailure,
    ) as error:
        output.say(f"\nIt is unknown whether the job was started: {error}", err=True)
        return interrupted(job, False, grace)
    if status is None:
        output.say(f"\nJob '{job.id}' was not started", err=True)
        return INTERRUPTED
    if status.state.final:
        output.say(f"\n{status.describe()}", err=True)
        return INTERRUPTED
    return interrupted(job, kill, grace)


def find_submitted(job: Job[RemoteQueue]) -> JobStatus | None:
    """Return the job's status, or None if the job does not exist.

    The status is requested several times, because the interrupted submission may still
    be completed on the server.
    """
    for _ in range(MAX_REQUESTS):
        try:
            found = job.queue.statuses([job.id])[job.id]
        except errors.QueueNotFound:
            found = None
        if found is not None:
            return found
        time.sleep(0.5)
    return None


def interrupted(job: Job[RemoteQueue], kill: bool, grace: int) -> int:
    """Handle Ctrl-C: kill the job, or print the commands to continue with the job.

    Returns the exit status of the command.
    """
    words = words_for(job)
    if kill:
        output.say(f"\nKilling job '{job.id}' ...", err=True)
        try:
            output.say_line(job.kill(grace=grace).describe(), err=True)
        except KeyboardInterrupt:
            output.say(
                f"\nIt is unknown whether the job was killed: see `tej status {words}`",
                err=True,
            )
        return INTERRUPTED
    output.say(
        f"\nJob '{job.id}' was not stopped.\n"
        f"  Follow its output:  tej logs -f {words}\n"
        f"  Wait for its end:   tej wait {words}\n"
        f"  Kill the job:       tej kill {words}",
        err=True,
    )
    return INTERRUPTED


def words_for(job: Job[RemoteQueue]) -> str:
    """Return the command-line words that select this job in other commands."""
    profile = current_profile()
    place = [profile.settings.get(key) for key in ("destination", "queue")]
    if profile.name is not None and all(
        one is None or one.source in profile.files for one in place
    ):
        # The option -p is left out for the default profile.
        named = profile.name.source == COMMAND_LINE
        return shlex.join([*(["-p", profile.name.value] if named else []), job.id])
    path = str(job.queue.queue)
    usual = path == DEFAULT_TEJ_DIR and "TEJ_QUEUE" not in os.environ
    queue = [] if usual else ["--queue", path]
    return shlex.join([job.queue.destination_string, *queue, "--id", job.id])
