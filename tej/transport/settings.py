"""Settings of a connection: timeouts, time until an unused connection closes, keys,
prompts, host keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tej.transport.io_timeout import IO_TIMEOUT
from tej.transport.persist import DEFAULT_PERSIST
from tej.transport.prompts import Ask

TIMEOUT = 30.0
"""Default time limit for connecting, in seconds."""
KEEP_ALIVE = 15.0
"""Default interval of keepalive messages, in seconds (ServerAliveInterval)."""
KEEP_ALIVE_COUNT = 3
"""Number of unanswered keepalive messages after which `ssh` closes the connection
(ServerAliveCountMax)."""


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
    io_timeout: float = IO_TIMEOUT
    keep_alive: float = KEEP_ALIVE
    config_file: Path | None = None
    key: str | None = field(default=None, repr=False)
    known_hosts: str = ""
    persist: str = DEFAULT_PERSIST
    """Time for which an unused connection of `ssh` stays open (ControlPersist)."""

    def connect_timeout(self, configured: float | None) -> float:
        """Return the time limit for connecting in seconds.

        `configured` is ConnectTimeout of the ssh configuration, or None.
        """
        return self.timeout or configured or TIMEOUT
