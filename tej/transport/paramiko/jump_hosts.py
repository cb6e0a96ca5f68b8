"""Jump hosts (ProxyJump in ssh_config): servers through which a server is reached."""

from __future__ import annotations

from collections.abc import Callable

import paramiko

from tej.destination import Destination
from tej.errors import ConnectionFailed, InvalidDestination
from tej.transport.paramiko.failures import translating_errors
from tej.transport.ssh_config import HostConfig

MAX_JUMPS = 8


def jump_hosts(
    config: HostConfig, look_up: Callable[[Destination], HostConfig]
) -> list[HostConfig]:
    """Return the configurations of the jump hosts of a server, the nearest first.

    Raises ConnectionFailed if the value of ProxyJump is invalid.
    """
    if not config.proxy_jump:
        return []
    try:
        hops = [Destination.parse(hop) for hop in config.proxy_jump.split(",")]
    except InvalidDestination as error:
        raise ConnectionFailed(
            f"{config.where}: ssh configuration: ProxyJump: {error}"
        ) from error
    found = [look_up(hop) for hop in hops]
    return [hop for hop in found if not _same_server(hop, config)]


def open_through(
    gateway: paramiko.Transport, hop: HostConfig, following: HostConfig, timeout: float
) -> paramiko.Channel:
    """Connect to the server `following` through the jump host `hop`."""
    with translating_errors(f"{following.where}, through {hop.where},"):
        return gateway.open_channel(
            "direct-tcpip",
            (following.host, following.port),
            ("127.0.0.1", 0),
            timeout=timeout,
        )


def _same_server(one: HostConfig, other: HostConfig) -> bool:
    """Return whether both configurations have the same host and port.

    A ProxyJump in `Host *` also applies to the jump host itself, which must not be
    reached through itself.
    """
    return (one.host, one.port) == (other.host, other.port)
