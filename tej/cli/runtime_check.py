"""`tej runtime-check`: test a runtime on a server."""

from __future__ import annotations

import sys

import click

from tej.cli import output
from tej.cli.command import command as make_command
from tej.cli.command import host_key_option, json_option
from tej.cli.password_prompt import ask_for_secret
from tej.queue.remote import RemoteQueue
from tej.runtime_check import RuntimeCheck, check_queue


@make_command("runtime-check", example="tej runtime-check ./myruntime lab")
@click.argument("runtime", metavar="RUNTIME")
@click.argument("destination")
@click.option(
    "--queue", "path", metavar="PATH", help="Path of the queue.  [default: new, in ~]"
)
@host_key_option
@json_option
def command(
    runtime: str,
    destination: str,
    path: str | None,
    accept_new_host_key: bool,
    as_json: bool,
) -> int:
    """Test a runtime, given by name or folder, with short jobs on a server.

    The tests use a new queue, which is removed afterwards.  The exit status is 1 if a
    test fails.
    """
    try:
        queue = RemoteQueue(
            destination,
            path or check_queue(),
            runtime,
            ask=ask_for_secret if sys.stdin.isatty() else None,
            terminal=sys.stdin.isatty(),
            accept_new_host_key=accept_new_host_key,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    with queue:
        findings = []
        for finding in RuntimeCheck(queue).run():
            findings.append(finding)
            if not as_json:
                words = "ok   " if finding.complaint is None else "WRONG"
                why = "" if finding.complaint is None else f": {finding.complaint}"
                output.say(f"{words} {finding.what}{why}")
    if as_json:
        output.print_json(
            {"findings": [{"what": f.what, "wrong": f.complaint} for f in findings]}
        )
    return int(any(finding.complaint is not None for finding in findings))
