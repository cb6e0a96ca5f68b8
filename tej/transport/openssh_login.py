"""Shared connections of `ssh`: log in and out, find the user's ControlMaster."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from tej.destination import Destination
from tej.transport.openssh_config import read_config
from tej.transport.openssh_master import Master, is_alive, socket_path, stop_master
from tej.transport.pool import MAX_CONNECTIONS
from tej.transport.settings import Settings
from tej.transport.ssh_config import parse_time


@dataclass(frozen=True)
class Login:
    """A connection of `ssh` that all processes of a user share."""

    where: str
    """The server as user@host:port."""
    new: bool
    """Whether `log_in` logged in; False if a connection existed already."""
    own: bool
    """Whether tej chose the path of the ControlMaster's socket; False if ControlPath in
    the user's ssh configuration sets the path."""
    socket: Path
    persist: str
    """Time for which the unused connection stays open, in the format of
    ControlPersist."""

    @property
    def until(self) -> datetime | None:
        """Time at which the connection closes if no command uses it.

        The value is None if the connection has no time limit, or if the connection
        existed before, because its time limit is then unknown.
        """
        seconds = parse_time(self.persist) if self.new else None
        if seconds is None:
            return None
        return datetime.now().astimezone() + timedelta(seconds=seconds)


def log_in(destination: Destination, settings: Settings) -> Login:
    """Return a connection that all processes of this user share; log in if necessary.

    Raises ConnectionFailed if the login fails.
    """
    config = read_config(destination, settings)
    master = Master(config, settings)
    new = master.ensure()
    configured = config.first("controlpersist")
    theirs = not master.own and configured not in ("", "no", "false")
    persist = configured if theirs else settings.persist
    return Login(config.where, new, master.own, master.path, persist)


def log_out(destination: Destination) -> bool:
    """Close tej's connections to a destination; returns whether any was closed.

    Running programs lose their connection.  A ControlMaster of the user's own ssh
    configuration is not stopped.
    """
    config = read_config(destination, Settings())
    paths = [socket_path(config, number) for number in range(MAX_CONNECTIONS)]
    stopped = [stop_master(path) for path in paths]
    return any(stopped)


def user_master(destination: Destination) -> Path | None:
    """Return the socket of the ControlMaster of the user's own ssh configuration.

    Returns None if the configuration sets no ControlPath, or if no ControlMaster runs.
    """
    path = read_config(destination, Settings()).user_socket
    return path if path is not None and is_alive(path) else None
