"""`tej signature`: print the job id made from the signature of a directory."""

from __future__ import annotations

import click

from tej.cli import output
from tej.cli.command import command as make_command
from tej.cli.command import json_option
from tej.cli.dependency_options import dependencies
from tej.cli.job_options import (
    environment,
    everything,
    find_script,
    merge_environment,
    script,
)
from tej.cli.profile import profile_option
from tej.job.signature import make_id, signature


@make_command("signature", example="tej signature simulation/", takes_command=True)
@click.argument("directory", default=".", metavar="[DIRECTORY] [-- COMMAND...]")
@profile_option
@script
@environment
@everything
@dependencies
@json_option
def command(
    directory: str,
    profile_name: str | None,
    script: str | None,
    variables: tuple[str, ...],
    everything: bool,
    after: tuple[str, ...],
    inputs: dict[str, tuple[str, str]],
    as_json: bool,
) -> None:
    """Print the job id made from the signature of a directory.

    The profile's variables and ignored files are taken into account.  `tej run` and
    `tej submit --reuse` use this id.  No server is contacted, so --after and --input
    take only complete ids.
    """
    from tej import config

    profile = config.load().resolve(profile_name)
    digest = signature(
        directory,
        find_script(script),
        merge_environment(profile, variables),
        everything=everything,
        ignore=profile.get("ignore") or (),
        after=after,
        inputs=inputs,
    )
    job_id = make_id(digest)
    if as_json:
        output.print_json({"signature": digest, "id": job_id})
    else:
        click.echo(job_id)
