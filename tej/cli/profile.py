"""Profile of a command: merge the command line, the environment and the files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import click
from click.core import ParameterSource

from tej.cli.destination_argument import Context, is_ssh_alias, split_words
from tej.cli.destination_completion import complete_profile
from tej.cli.sectioned_option import Option

if TYPE_CHECKING:
    from tej.config import Profile, Setting

profile_option = click.option(
    "-p",
    "--profile",
    "profile_name",
    metavar="NAME",
    shell_complete=complete_profile,
    cls=Option,
    help="Profile in the configuration files.  [env var: TEJ_PROFILE]",
)


def find_profile(
    words: tuple[str, ...],
    arguments: tuple[str, ...] = (),
    *,
    name: str | None = None,
    given: Mapping[str, Any] | None = None,
    selects_jobs: bool = False,
) -> tuple[Profile, list[str]]:
    """Return the settings in effect, and the words after the destination.

    `words`, `arguments` and `selects_jobs` are described in `destination_argument.py`.
    `name` and `given` are the profile and the settings that the options set.  If the
    destination on the command line is the name of a profile, that profile is used.
    """
    from tej import config

    files = config.load()
    settings = dict(given or {})
    profile = files.resolve(name, settings)
    context = Context(
        profile.get("destination") is not None, files.profiles, selects_jobs
    )
    destination, rest = split_words(words, arguments, context)
    if destination is None:
        return profile, rest
    if name is None and destination in files.profiles:
        check_profile_word(destination, files.profiles[destination])
        return files.resolve(destination, settings), rest
    return files.resolve(name, {**settings, "destination": destination}), rest


def check_profile_word(word: str, settings: Mapping[str, Setting]) -> None:
    """Raise click.UsageError if `word` is a profile and another host's ssh alias."""
    target = settings.get("destination")
    if (target is None or target.value != word) and is_ssh_alias(word):
        raise click.UsageError(
            f"'{word}' is a profile, and a Host of the ssh configuration: write "
            f"-p {word} for the profile, or ssh://{word} for the host"
        )


def settings_on_command_line(context: click.Context) -> dict[str, Any]:
    """Return the settings that options of the command set; keys as in a profile.

    A value that click took from an environment variable is left out, because
    `Config.resolve` adds the value with a lower precedence.
    """
    names = {"queue_path": "queue", "runtime": "runtime", "transport": "transport"}
    names |= {"trust_queue": "trust_queue", "persist": "persist"}
    return {
        key: context.params[name]
        for name, key in names.items()
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }


def current_profile() -> Profile:
    """Return the settings in effect for the command that is running."""
    profile = click.get_current_context().obj
    assert profile is not None
    return cast("Profile", profile)
