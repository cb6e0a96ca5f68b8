"""Options that describe a job: its script, environment, labels and resources.

The decorator `job_options` merges the options with the profile, and passes the job to
the command as a `JobSpec`.
"""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar, cast

import click

from tej.cli.command import COMMAND_WORDS
from tej.cli.dependency_options import dependencies, find_needed
from tej.cli.option_values import parse_pairs, read_variables
from tej.cli.profile import current_profile
from tej.cli.resource_options import merge_resources, resources
from tej.job.spec import JobSpec
from tej.job.start_script import DEFAULT_SCRIPT

if TYPE_CHECKING:
    from tej.config import Profile
    from tej.queue.remote import RemoteQueue

Function = TypeVar("Function", bound=Callable[..., Any])


def script(function: Function) -> Function:
    """Add the option `--script` to a command that starts a job."""
    return click.option(
        "--script",
        metavar="FILE|COMMAND",
        help=f"File in the directory, or shell command.  [default: {DEFAULT_SCRIPT}]",
    )(function)


def environment(function: Function) -> Function:
    """Add the options `--env` and `--env-file` to a command that starts a job.

    The values of `--env` and `--env-file` are passed to the command as `variables`.
    """

    @functools.wraps(function)
    def command(
        *arguments: Any,  # noqa: ANN401 (passed on)
        variables: tuple[str, ...],
        variables_file: IO[str] | None,
        **others: Any,  # noqa: ANN401 (passed on)
    ) -> Any:  # noqa: ANN401
        read = () if variables_file is None else read_variables(variables_file)
        return function(*arguments, variables=(*read, *variables), **others)

    for option in (
        click.option(
            "--env-file",
            "variables_file",
            type=click.File(encoding="utf-8"),
            metavar="FILE",
            help="Read secret variables from a JSON object in FILE; - is stdin.",
        ),
        click.option(
            "--env",
            "variables",
            multiple=True,
            metavar="NAME=VALUE",
            help="Environment variable, part of the signature; may be repeated.",
        ),
    ):
        command = option(command)
    return cast("Function", command)


def everything(function: Function) -> Function:
    """Add the option `--everything` to a command that reads a job directory."""
    return click.option(
        "--everything",
        is_flag=True,
        help="Include files of tools: .git, __pycache__, virtual environments.",
    )(function)


def job_labels(function: Function) -> Function:
    """Add the option `--label KEY=VALUE` to a command that starts a job."""
    return click.option(
        "--label",
        "labels",
        multiple=True,
        metavar="KEY=VALUE",
        help="Label for `tej list --label`; may be repeated.",
    )(function)


def on_end(function: Function) -> Function:
    """Add the option `--on-end` to a command that starts a job."""
    return click.option(
        "--on-end",
        metavar="COMMAND",
        help="Run COMMAND on the server when the job has ended, successful or not.",
    )(function)


def shared_input(function: Function) -> Function:
    """Add the option `--shared` to a command that starts a job."""
    return click.option(
        "--shared",
        multiple=True,
        metavar="PATH",
        help="Store this input once for all jobs, read-only; may be repeated.",
    )(function)


def find_shared(directory: str, given: tuple[str, ...]) -> tuple[str, ...]:
    """Return the paths of `--shared`, or else the shared paths in the profile.

    A path in the profile that does not exist in the directory is ignored, because a
    project may have several job directories.
    """
    if given:
        return given
    listed = current_profile().get("shared") or ()
    return tuple(path for path in listed if Path(directory, path).exists())


def job_options(function: Function) -> Function:
    """Add the options that describe a job, which is passed to the command as `spec`."""

    @functools.wraps(function)
    def command(
        queue: RemoteQueue,
        *,
        directory: str,
        id_: str | None,
        script: str | None,
        variables: tuple[str, ...],
        labels: tuple[str, ...],
        resources: dict[str, Any],
        login: bool,
        everything: bool,
        after: tuple[str, ...],
        inputs: dict[str, tuple[str, str]],
        on_end: str | None,
        shared: tuple[str, ...],
        **others: Any,  # noqa: ANN401 (passed on)
    ) -> Any:  # noqa: ANN401
        profile = current_profile()
        requested = merge_resources(profile.table("resources"), resources)
        after, inputs = find_needed(queue, after, inputs)
        spec = JobSpec(
            directory,
            find_script(script),
            job_id=id_,
            # The name in the scheduler is also the name by which commands find the job.
            name=None if requested is None else requested.name,
            labels=parse_pairs(labels, "label"),
            environment=merge_environment(profile, variables),
            resources=requested,
            login=login,
            everything=everything,
            ignore=profile.get("ignore") or (),
            after=after,
            inputs=inputs,
            # An empty `--on-end` disables the command in the profile.
            on_end=profile.get("on_end") if on_end is None else on_end or None,
            shared=find_shared(directory, shared),
        )
        return function(queue, spec=spec, **others)

    for option in (
        resources,
        dependencies,
        everything,
        environment,
        shared_input,
        on_end,
        job_labels,
        script,
    ):
        command = option(command)
    return cast("Function", command)


def find_script(script: str | None) -> str | None:
    """Return the command after `--` on the command line, or else `script`.

    A single word after `--` is a shell command, like the value of --script.  Several
    words are a program and its arguments, and each word is quoted for the shell.
    """
    words = click.get_current_context().meta.get(COMMAND_WORDS)
    if words is None:
        return script
    if script is not None:
        raise click.UsageError("--script cannot be combined with a command after --")
    if not words:
        raise click.UsageError("There is no command after --")
    return str(words[0]) if len(words) == 1 else shlex.join(words)


def merge_environment(profile: Profile, variables: tuple[str, ...]) -> dict[str, str]:
    """Return the profile's variables, overridden by the variables in the options."""
    return {**profile.table("environment"), **parse_pairs(variables, "variable")}


def submission_arguments(spec: JobSpec) -> Mapping[str, Any]:
    """Return the fields of a JobSpec as keyword arguments of `ensure` and `submit`."""
    names = ("script", "name", "labels", "environment", "resources", "login")
    more = ("everything", "ignore", "after", "inputs", "on_end", "shared")
    return {name: getattr(spec, name) for name in (*names, *more)}
