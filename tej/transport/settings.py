"""What a caller may choose about a connection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

Ask = Callable[[str], str]
"""Given a prompt, returns the secret that the user types."""


@dataclass(frozen=True)
class Settings:
    """As in `open_transport`, where each is explained."""

    ask: Ask | None = field(default=None, repr=False)
    accept_new_host_key: bool = False
    timeout: float = 30
    io_timeout: float = 120
    keep_alive: float = 15
    config_file: Path | None = None
    key: str | None = field(default=None, repr=False)
    known_hosts: str = ""
