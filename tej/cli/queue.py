"""`tej queue`: print the runtime (such as slurm) and the job limit of a queue."""

from __future__ import annotations

from tej.cli import output
from tej.cli.command import queue_command
from tej.queue.remote import RemoteQueue


@queue_command("queue", example="tej queue lab")
def command(queue: RemoteQueue, as_json: bool) -> None:
    """Print the path, the runtime and the job limit of a queue."""
    info = queue.info()
    if as_json:
        document = {"queue": str(info.path), "runtime": info.runtime}
        output.print_json({**document, "max_running": info.max_running})
        return
    limit = info.max_running
    output.say_line(f"Queue: {info.path}")
    output.say_line(f"Runtime: {info.runtime}")
    output.say_line(f"Limit: {'none' if limit is None else f'{limit} running jobs'}")
