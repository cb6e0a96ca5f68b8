"""Prompt for a password, a passphrase or a one-time code at the terminal."""

from __future__ import annotations

import click

from tej.job.escaping import escape


def ask_for_secret(prompt: str) -> str:
    """Prompt for a secret at the terminal without echo, and return the secret.

    Each line of the prompt after the first starts with a bar, because the text may come
    from the server, and must not look like a prompt of tej itself.
    """
    words = escape(prompt.rstrip(": ")).replace("\n", "\n| ")
    return str(click.prompt(words, hide_input=True, err=True))
