"""Settings of a connection: timeouts, time until an unused connection closes, keys,
prompts, host keys."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

Ask = Callable[[str], str]
"""Function that takes a prompt and returns the secret that the user enters."""

TIMEOUT = 30.0

PROMPTS = 3
"""Number of times that the user is prompted for a secret, as by ssh."""


@dataclass(frozen=True)
class Settings:
    """The options of a connection, which `open_transport` documents."""

    ask: Ask | None = field(default=None, repr=False)
    terminal: bool = False
    accept_new_host_key: bool = False
    timeout: float | None = None
    """Time limit for connecting in seconds.

    If the value is None, ConnectTimeout of the ssh configuration is used, or 30 if that
    is not set."""
    io_timeout: float = 120
    keep_alive: float = 15
    config_file: Path | None = None
    key: str | None = field(default=None, repr=False)
    known_hosts: str = ""
    persist: str = "60"
    """Time for which an unused connection of `ssh` stays open (ControlPersist)."""

    def connect_timeout(self, configured: float | None) -> float:
        """Return the time limit for connecting in seconds.

        `configured` is ConnectTimeout of the ssh configuration, or None.
        """
        return self.timeout or configured or TIMEOUT


def check_persist(time: str) -> str:
    """Return a time in the format of ControlPersist.

    Raises ValueError if `time` does not have this format.
    """
    text = str(time)
    if not re.fullmatch(r"([0-9]+[smhdwSMHDW]?)+", text):
        raise ValueError(f"persist: {text!r} is not a time such as 60, 10m or 8h")
    # ssh interprets 0 as no limit; tej interprets 0 as the shortest time.
    return text if re.search(r"[1-9]", text) else "1"
