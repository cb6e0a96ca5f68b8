"""Completion of profiles and hosts in a shell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


def complete_destination(incomplete: str) -> list[CompletionItem]:
    """Return the profiles and the ssh aliases that start with `incomplete`."""
    from click.shell_completion import CompletionItem

    from tej.transport.ssh_config import host_aliases

    aliases = host_aliases()
    names = {*_profiles(), *aliases, "local:"}
    user, at, _ = incomplete.rpartition("@")
    if user:
        names |= {f"{user}{at}{alias}" for alias in aliases}
    return [CompletionItem(name) for name in sorted(names) if fits(name, incomplete)]


def complete_profile(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the profiles that start with `incomplete`."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(one) for one in sorted(_profiles()) if fits(one, incomplete)]


def _profiles() -> set[str]:
    from tej import config
    from tej.errors import Error

    try:
        return set(config.load().profiles)
    except Error:
        return set()


def fits(name: str, incomplete: str) -> bool:
    """Return whether a name completes a word, and has only printable characters."""
    return name.startswith(incomplete) and name.isprintable()
