"""Connecting with paramiko: open a socket, check the host key, and log in."""

from __future__ import annotations

import logging
import socket
import time
from typing import cast

import paramiko

from tej.destination import Destination
from tej.errors import ConnectionFailed
from tej.transport.paramiko.buffered_socket import BufferedSocket, SocketLike
from tej.transport.paramiko.connection import ParamikoConnection
from tej.transport.paramiko.failures import translating_errors
from tej.transport.paramiko.host_key import (
    check_host_key,
    known_entries,
    order_key_types,
)
from tej.transport.paramiko.jump_hosts import MAX_JUMPS, jump_hosts, open_through
from tej.transport.paramiko.login import log_in
from tej.transport.paramiko.proxy_command import ProxyCommand
from tej.transport.settings import Settings
from tej.transport.ssh_config import HostConfig, look_up

logger = logging.getLogger("tej")

# paramiko's log is disabled unless the user sets a level for it, because tej itself
# reports the errors of paramiko.
PARAMIKO_LOG = "tej.paramiko"
if logging.getLogger(PARAMIKO_LOG).level == logging.NOTSET:
    logging.getLogger(PARAMIKO_LOG).setLevel(logging.CRITICAL)

# Name endings of the permitted ciphers, the preferred first.  GCM encrypts and
# authenticates in one pass, twice as fast as CTR with an HMAC.  OpenSSH no longer
# offers paramiko's other ciphers, nor the MACs with MD5, which `_enter` excludes.
CIPHERS = ("-gcm@openssh.com", "-ctr")
WINDOW = 1 << 23
"""Window size: maximum number of bytes that the server sends before tej reads them.

A window of 8 MiB allows 80 MB/s at a round-trip time of 100 ms.  OpenSSH uses 2 MB."""
FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}


class Transport(paramiko.Transport):
    """paramiko's transport, with the standard name of the key exchange curve25519.

    Some servers offer curve25519 under the standard name only.
    """

    _STANDARD, _OLD = "curve25519-sha256", "curve25519-sha256@libssh.org"
    if _OLD in paramiko.Transport._kex_info:  # type: ignore[attr-defined]
        _kex_info = {
            **paramiko.Transport._kex_info,  # type: ignore[attr-defined]
            _STANDARD: paramiko.Transport._kex_info[_OLD],  # type: ignore[attr-defined]
        }
        _preferred_kex = (
            _STANDARD,
            *paramiko.Transport._preferred_kex,  # type: ignore[attr-defined]
        )


class Packetizer(paramiko.packet.Packetizer):
    """paramiko's packetizer without its early rekeying and its timer thread."""

    # OpenSSH rekeys AES after twice this number of bytes.  By default, paramiko rekeys
    # after 512 MB, and loses the connection if a channel closes during the rekeying.
    REKEY_BYTES = 1 << 35

    # `_deadline` replaces paramiko's timer thread for the handshake, because that
    # thread delays the exit of Python.
    _deadline: float | None = None

    def start_handshake(self, timeout: float) -> None:
        self._deadline = time.monotonic() + timeout

    def handshake_timed_out(self) -> bool:
        return self._deadline is not None and time.monotonic() > self._deadline

    def complete_handshake(self) -> None:
        self._deadline = None


def connect(destination: Destination, settings: Settings) -> ParamikoConnection:
    """Connect and log in, through the jump hosts in `~/.ssh/config`.

    Raises ConnectionFailed if the connection or the login fails.
    """
    connection = ParamikoConnection(settings)
    try:
        _Connector(connection).connect(destination)
    except BaseException:
        connection.close()
        raise
    logger.debug("%s: connected", connection.where)
    return connection


class _Connector:
    """Opens the transports of a connection: to the jump hosts, then to the server."""

    def __init__(self, connection: ParamikoConnection) -> None:
        self._connection = connection
        self._settings = connection.settings

    def connect(self, destination: Destination) -> None:
        config = self._look_up(destination)
        self._connection.where = config.where
        self._connection.timeout = self._timeout(config)
        self._connection.set_env = config.set_env
        if config.unsupported:
            logger.warning(
                "%s: the paramiko transport ignores %s of the ssh configuration; "
                "the openssh transport does not",
                *(config.where, ", ".join(config.unsupported)),
            )
        sock = self._reach(config, depth=0)
        self._enter(config, sock, destination.password, self._settings.key)

    def _timeout(self, config: HostConfig) -> float:
        return self._settings.connect_timeout(config.connect_timeout)

    def _look_up(self, destination: Destination) -> HostConfig:
        return look_up(
            destination.host,
            destination.user,
            destination.port,
            config_file=self._settings.config_file,
        )

    def _reach(self, config: HostConfig, depth: int) -> SocketLike:
        """Return a socket, or an object like a socket, connected to the server."""
        if config.proxy_command:
            command = ProxyCommand(config.proxy_command, config.where)
            self._connection.commands.append(command)
            return command.socket
        hops = jump_hosts(config, self._look_up)
        if not hops:
            with translating_errors(config.where):
                return _dial(config, self._timeout(config))
        if depth == MAX_JUMPS:
            raise ConnectionFailed(
                f"{config.where}: too many jump hosts; does ProxyJump form a cycle?"
            )
        sock = self._reach(hops[0], depth + 1)
        for hop, following in zip(hops, [*hops[1:], config], strict=True):
            timeout = self._timeout(following)
            sock = open_through(self._enter(hop, sock), hop, following, timeout)
            self._connection.channels.add(sock)
        return sock

    def _enter(
        self,
        config: HostConfig,
        sock: SocketLike,
        password: str | None = None,
        key: str | None = None,
    ) -> paramiko.Transport:
        """Negotiate algorithms over `sock`, check the host key, and log in."""
        buffered = BufferedSocket(sock, self._settings.io_timeout)
        self._connection.sockets.append(buffered)
        transport = Transport(
            cast("socket.socket", buffered),
            default_window_size=WINDOW,
            packetizer_class=Packetizer,
        )
        self._connection.transports.append(transport)
        transport.set_log_channel(PARAMIKO_LOG)
        options = transport.get_security_options()
        options.digests = [name for name in options.digests if "md5" not in name]
        options.ciphers = [
            name for end in CIPHERS for name in options.ciphers if name.endswith(end)
        ]
        known = known_entries(config, self._settings.known_hosts)
        order_key_types(options, known)
        self._negotiate(transport, config)
        accept = self._settings.accept_new_host_key or config.accept_new_host_key
        check_host_key(transport, config, known, accept=accept)
        log_in(transport, config, self._settings, password, key)
        transport.set_keepalive(int(self._settings.keep_alive))
        return transport

    def _negotiate(self, transport: paramiko.Transport, config: HostConfig) -> None:
        timeout = self._timeout(config)
        transport.banner_timeout = transport.handshake_timeout = timeout
        try:
            with translating_errors(config.where):
                # The time limit applies separately to the banner and to the key
                # exchange, so the handshake may take twice as long.
                transport.start_client(timeout=2 * timeout)
                if not transport.initial_kex_done:
                    raise TimeoutError
        except ConnectionFailed as error:
            commands = self._connection.commands
            stderr = commands[-1].stderr_tail() if config.proxy_command else ""
            if stderr:
                raise ConnectionFailed(
                    f"{str(error).rstrip('.')}. Its ProxyCommand said: {stderr}"
                ) from error.__cause__
            raise


def _dial(config: HostConfig, timeout: float) -> socket.socket:
    """Connect to the first address of the host that accepts a connection.

    Raises the error of the last address if no address accepts a connection.
    """
    family = FAMILIES.get(config.address_family, socket.AF_UNSPEC)
    error: OSError = OSError("no address")
    for found in socket.getaddrinfo(
        config.host, config.port, family, socket.SOCK_STREAM
    ):
        sock = socket.socket(found[0], found[1], found[2])
        try:
            sock.settimeout(timeout)
            sock.connect(found[4])
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        except OSError as failed:
            sock.close()
            error = failed
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise error
