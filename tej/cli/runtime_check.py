"""The command for those who write runtimes: runtime-check."""

from __future__ import annotations

import sys

import click

from tej.cli import output
from tej.cli.options import ask_for_secret
from tej.queue import RemoteQueue
from tej.runtime_check import RuntimeCheck, check_queue


@click.command("runtime-check")
@click.argument("runtime", metavar="RUNTIME")
@click.argument("destination")
@click.option(
    "--queue", "path", metavar="PATH", help="Where; by default a new place in ~."
)
@click.option("--accept-new-host-key", is_flag=True, help="Trust an unknown server.")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def runtime_check(
    runtime: str,
    destination: str,
    path: str | None,
    accept_new_host_key: bool,
    as_json: bool,
) -> int:
    """Put a runtime, a name or a folder, through its paces on a server.

    Makes a queue of its own there, runs some short jobs, and removes it.  Ends with 1
    if something is wrong.
    """
    try:
        queue = RemoteQueue(
            destination,
            path or check_queue(),
            runtime,
            ask=ask_for_secret if sys.stdin.isatty() else None,
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
                click.echo(f"{words} {finding.what}{why}")
    if as_json:
        output.print_json(
            {"findings": [{"what": f.what, "wrong": f.complaint} for f in findings]}
        )
    return int(any(finding.complaint is not None for finding in findings))


ALL = [runtime_check]
