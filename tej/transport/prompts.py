"""Prompts for passwords, passphrases and codes during a login."""

from __future__ import annotations

from collections.abc import Callable

Ask = Callable[[str], str]
"""Function that takes a prompt and returns the secret that the user enters."""

PROMPTS = 3
"""Maximum number of prompts for the same secret (NumberOfPasswordPrompts of ssh)."""
