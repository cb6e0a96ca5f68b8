"""`tej signature`: the id that a directory has as a job."""

from __future__ import annotations

from pathlib import Path

import click

from tej.cli import output
from tej.cli.command import command as make_command
from tej.cli.command import json_option
from tej.cli.options import environment, parse_pairs, script
from tej.job.directory import find_command, scan
from tej.job.signature import compute, make_id


@make_command("signature", example="tej signature simulation/")
@click.argument("directory")
@script
@environment
@json_option
def command(
    directory: str, script: str | None, variables: tuple[str, ...], as_json: bool
) -> None:
    """Print the job id made from the signature of a directory.

    No server is contacted.  `tej run` and `tej submit --reuse` use this id.
    """
    exported = parse_pairs(variables, "variable")
    folder = Path(directory)
    digest = compute(find_command(folder, script), scan(folder), exported)
    job_id = make_id(digest)
    if as_json:
        output.print_json({"signature": digest, "id": job_id})
    else:
        click.echo(job_id)
