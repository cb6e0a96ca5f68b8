"""Settings: what a caller may choose about a connection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

Ask = Callable[[str], str]
"""Receives a prompt, returns the secret that the user types."""

TIMEOUT = 30.0


@dataclass(frozen=True)
class Settings:
    """The options of `open_transport`, which explains each."""

    ask: Ask | None = field(default=None, repr=False)
    terminal: bool = False
    accept_new_host_key: bool = False
    timeout: float | None = None
    """None: ConnectTimeout of the ssh configuration, or else 30 s."""
    io_timeout: float = 120
    keep_alive: float = 15
    config_file: Path | None = None
    key: str | None = field(default=None, repr=False)
    known_hosts: str = ""
    persist: str = "60"

    def connect_timeout(self, configured: float | None) -> float:
        """Seconds for connecting, given the ConnectTimeout of the configuration."""
        return self.timeout or configured or TIMEOUT
