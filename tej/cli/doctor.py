"""`tej doctor`: check the connection and the server, step by step.

The checks and their limits are in `tej/doctor.py`, and in `server/doctor.sh`.
"""

from __future__ import annotations

from tej.cli import output
from tej.cli.command import queue_command
from tej.queue.remote import RemoteQueue

MARKS = {"ok": "ok     ", "warning": "note   ", "trouble": "TROUBLE"}


@queue_command("doctor", example="tej doctor lab")
def command(queue: RemoteQueue, as_json: bool) -> int:
    """Check the connection and the server, step by step; nothing is changed.

    The exit status is 1 if a step fails.  The output contains no secrets and can be
    pasted into bug reports.
    """
    from tej.destination import Destination
    from tej.doctor import State, examine

    steps = []
    for step in examine(queue, Destination.parse(queue.destination_string)):
        steps.append(step)
        if not as_json:
            output.say_line(f"{MARKS[step.state.value]} {step.name}: {step.text}")
            if step.way_out:
                output.say_line(f"        {step.way_out}")
    if as_json:
        found = [
            {
                "name": step.name,
                "state": step.state.value,
                "text": step.text,
                "way_out": step.way_out or None,
            }
            for step in steps
        ]
        output.print_json({"steps": found})
    return int(any(step.state is State.TROUBLE for step in steps))
