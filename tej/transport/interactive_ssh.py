"""Interactive programs on the server: build the command line of `ssh -t`.

A `Transport` connects a program to pipes, but an editor or an interactive shell needs a
terminal.  `ssh -t` provides one, and uses the ControlMaster of the openssh transport if
one runs.
"""

from __future__ import annotations

import os
import shutil

from tej.destination import Destination
from tej.errors import ConnectionFailed


def terminal_command(destination: Destination, script: str) -> list[str]:
    """Return the command line that runs a POSIX script on the server, at this terminal.

    Raises ConnectionFailed if the program `ssh` is missing.
    """
    if destination.is_local:
        return ["/bin/sh", "-c", script]
    if shutil.which("ssh") is None:
        raise ConnectionFailed(
            "A terminal on the server needs the program `ssh` on the PATH"
        )
    command = [*_ssh(destination), as_word(script)]
    command[1:1] = ["-t", "-o", "LogLevel=error", "-o", "RemoteCommand=none"]
    return command


def _ssh(destination: Destination) -> list[str]:
    """Return the command line of `ssh`, with the socket of the ControlMaster if any."""
    if os.name == "posix":
        from tej.transport.openssh_config import read_config
        from tej.transport.openssh_master import Master, is_alive
        from tej.transport.settings import Settings

        config = read_config(destination, Settings())
        path = Master(config, Settings()).path
        socket = ["-S", str(path)] if is_alive(path) else []
        ssh, *rest = config.command
        return [ssh, *socket, *rest]
    port = [] if destination.port is None else ["-p", str(destination.port)]
    user = [] if destination.user is None else ["-l", destination.user]
    return ["ssh", *port, *user, "--", destination.host]


def as_word(script: str) -> str:
    """Return a command that runs a POSIX script, whatever the user's login shell is.

    All characters except letters and digits are written in octal, because the quoting
    rules differ between login shells (csh, fish, ...).
    """
    data = script.encode("utf-8", "surrogateescape")
    octal = "".join(
        chr(byte) if chr(byte).isalnum() and byte < 128 else f"\\0{byte:03o}"
        for byte in data
    )
    return f"""exec /bin/sh -c 'eval "$(printf %b "{octal}")"'"""
