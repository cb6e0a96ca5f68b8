"""Transports: run programs on the server, over SSH or on this machine.

`open_transport` chooses between the system's OpenSSH, paramiko and the local shell.
It raises ConnectionFailed if the chosen transport cannot be used, for example because
`ssh` is not installed.
Importing this package does not import paramiko, which is imported on its first use.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tej.destination import Destination
from tej.errors import ConnectionFailed
from tej.transport.base import Completed, Sink, Transport
from tej.transport.io_timeout import IO_TIMEOUT
from tej.transport.persist import DEFAULT_PERSIST, check_persist
from tej.transport.program_start import COMMAND
from tej.transport.settings import KEEP_ALIVE, Settings

__all__ = ["COMMAND", "TRANSPORTS", "Completed", "Sink", "Transport", "open_transport"]

TRANSPORTS = ("openssh", "paramiko")
"""Names accepted by `open_transport`, `--transport` and TEJ_TRANSPORT."""


def open_transport(
    destination: Destination,
    *,
    transport: str | None = None,
    ask: Callable[[str], str] | None = None,
    terminal: bool = False,
    accept_new_host_key: bool = False,
    timeout: float | None = None,
    io_timeout: float = IO_TIMEOUT,
    keep_alive: float = KEEP_ALIVE,
    config_file: Path | None = None,
    key: str | None = None,
    known_hosts: str = "",
    persist: str | None = None,
) -> Transport:
    """Return the transport for a destination, without contacting the server.

    `transport` is "openssh" or "paramiko"; the default is the value of TEJ_TRANSPORT.
    If TEJ_TRANSPORT is unset, the default is "openssh".  The default is "paramiko" if
    `ssh` is not installed, or if an argument is given that tej cannot pass to `ssh`: a
    password, `key`, `known_hosts`, or `ask` without `terminal`.

    `ask(prompt)` returns a secret (a password, a passphrase, a one-time code) to the
    paramiko transport.  `terminal` permits `ssh` to prompt at the terminal of this
    process.  Without them, a login that has to prompt for a secret fails.
    `accept_new_host_key` adds an unknown host key to known_hosts; without it, the
    connection fails.

    `timeout` is the time limit in seconds for connecting and for each step of the login
    (default: ConnectTimeout of the ssh configuration, or 30).  `io_timeout` is the time
    limit in seconds for a program that neither sends nor receives a byte.  `keep_alive`
    is the interval of keepalive messages in seconds.

    `config_file` replaces the user's and the system's ssh configuration.  `key` is the
    text of a private key, which is offered instead of all other keys.  `known_hosts` is
    text in the format of a known_hosts file, and takes precedence over such files.
    `persist` is the time for which an unused connection of `ssh` stays open, in the
    format of ControlPersist in ssh_config (default: TEJ_PERSIST, or 60 seconds).

    Raises ConnectionFailed if the transport cannot be used with these arguments, and
    ValueError if `transport` or `persist` is invalid.
    """
    if destination.is_local:
        from tej.transport.local import LocalTransport

        return LocalTransport()
    needs_paramiko = bool(destination.password or key or known_hosts) or (
        ask is not None and not terminal
    )
    name = _choose(transport or os.environ.get("TEJ_TRANSPORT"), needs_paramiko)
    settings = Settings(
        ask=ask,
        terminal=terminal,
        accept_new_host_key=accept_new_host_key,
        timeout=timeout,
        io_timeout=io_timeout,
        keep_alive=keep_alive,
        config_file=config_file,
        key=key,
        known_hosts=known_hosts,
        persist=check_persist(
            persist or os.environ.get("TEJ_PERSIST") or DEFAULT_PERSIST
        ),
    )
    if name == "openssh":
        if destination.password or key or known_hosts:
            raise ConnectionFailed(
                "The openssh transport accepts neither a password nor the text of a "
                "key or of known_hosts. Store the key and the host keys in files in "
                "~/.ssh, or use the paramiko transport"
            )
        from tej.transport.openssh import OpensshTransport

        return OpensshTransport(destination, settings)
    from tej.transport.paramiko import ParamikoTransport

    return ParamikoTransport(destination, settings)


def _choose(name: str | None, needs_paramiko: bool) -> str:
    usable = os.name == "posix" and _is_installed("ssh")
    if not name:
        return "openssh" if usable and not needs_paramiko else "paramiko"
    if name not in TRANSPORTS:
        raise ValueError(f"transport: {name!r} is not one of {', '.join(TRANSPORTS)}")
    if name == "openssh" and not usable:
        # The transport needs ssh's multiplexing, which does not exist on Windows.
        raise ConnectionFailed(
            "The openssh transport needs the program `ssh` on the PATH, and a POSIX "
            "system; use the paramiko transport"
        )
    return name


def _is_installed(program: str) -> bool:
    # `shutil.which` is not used, because the import of `shutil` is slow.
    paths = (Path(folder, program) for folder in os.get_exec_path())
    return any(path.is_file() and os.access(path, os.X_OK) for path in paths)
