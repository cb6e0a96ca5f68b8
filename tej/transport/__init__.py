"""How to run one program on the server: over SSH, or on this machine.

Importing this does not import paramiko; the first use of a server does.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tej.destination import Destination
from tej.transport.base import COMMAND, Completed, Sink, Transport
from tej.transport.settings import Settings

__all__ = ["COMMAND", "Completed", "Sink", "Transport", "open_transport"]


def open_transport(
    destination: Destination,
    *,
    ask: Callable[[str], str] | None = None,
    accept_new_host_key: bool = False,
    timeout: float = 30,
    io_timeout: float = 120,
    keep_alive: float = 15,
    config_file: Path | None = None,
    key: str | None = None,
    known_hosts: str = "",
) -> Transport:
    """Make the transport for a destination.  Nothing is contacted before `run`.

    `ask(prompt)` returns a secret (a password, a passphrase, a one-time code); without
    `ask`, a login that needs one fails.  `timeout` limits connecting and each step of
    the login, `io_timeout` a run during which no byte moves in either direction.
    `config_file` replaces the user's and the system's ssh configuration.  `key` is the
    text of a private key, which is offered instead of all others; `known_hosts` holds
    lines in the format of that file, which take precedence over the files.
    """
    if destination.is_local:
        from tej.transport.local import LocalTransport

        return LocalTransport()
    from tej.transport.paramiko import SshTransport

    return SshTransport(
        destination,
        Settings(
            ask=ask,
            accept_new_host_key=accept_new_host_key,
            timeout=timeout,
            io_timeout=io_timeout,
            keep_alive=keep_alive,
            config_file=config_file,
            key=key,
            known_hosts=known_hosts,
        ),
    )
