"""`tej signature`: print the job id made from the signature of a directory."""

from __future__ import annotations

import click

from tej.cli import output
from tej.cli.command import command as make_command
from tej.cli.command import json_option
from tej.cli.options import environment, everything, parse_pairs, script
from tej.job.signature import make_id, signature


@make_command("signature", example="tej signature simulation/")
@click.argument("directory")
@script
@environment
@everything
@json_option
def command(
    directory: str,
    script: str | None,
    variables: tuple[str, ...],
    everything: bool,
    as_json: bool,
) -> None:
    """Print the job id made from the signature of a directory.

    No server is contacted.  `tej run` and `tej submit --reuse` use this id.
    """
    exported = parse_pairs(variables, "variable")
    digest = signature(directory, script, exported, everything=everything)
    job_id = make_id(digest)
    if as_json:
        output.print_json({"signature": digest, "id": job_id})
    else:
        click.echo(job_id)
