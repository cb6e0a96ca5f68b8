"""A connection to a server: through whom, with which host key, and what runs on it."""

from __future__ import annotations

import logging
import socket
import threading
from typing import Any, cast

import paramiko

from tej.destination import Destination
from tej.errors import ConnectionFailed, InvalidDestination
from tej.transport.base import COMMAND
from tej.transport.conversation import Process
from tej.transport.settings import Settings
from tej.transport.ssh.execution import Execution
from tej.transport.ssh.failures import explained
from tej.transport.ssh.host_key import check_host_key, order_key_types
from tej.transport.ssh.login import log_in
from tej.transport.ssh.proxy_command import ProxyCommand
from tej.transport.ssh.wire import SocketLike, Wire
from tej.transport.ssh_config import HostConfig, look_up

logger = logging.getLogger("tej")

# Its messages are ours to word: quiet, unless somebody sets this level lower.
PARAMIKO_LOG = "tej.paramiko"
if logging.getLogger(PARAMIKO_LOG).level == logging.NOTSET:
    logging.getLogger(PARAMIKO_LOG).setLevel(logging.CRITICAL)

# With GCM one pass encrypts and authenticates: twice as fast as CTR and an HMAC.
CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
WINDOW = 1 << 24
REKEY_BYTES = 1 << 35
"""OpenSSH changes keys after twice that with AES.  paramiko would after 512 MB, and
loses the connection if a channel closes just then."""
MAX_JUMPS = 8
FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}


class Connection:
    """A way in that is open, until it is closed or lost."""

    def __init__(
        self,
        where: str,
        settings: Settings,
        transports: list[paramiko.Transport],
        wires: list[Wire],
        commands: list[ProxyCommand],
    ) -> None:
        self.where = where
        self._settings = settings
        self._transports = transports
        self._wires = wires
        self._commands = commands
        self._channels: set[paramiko.Channel] = set()

    @property
    def alive(self) -> bool:
        """Whether it is not known to be lost."""
        return self._transports[-1].is_active()

    @property
    def last_received(self) -> float:
        """When a byte last came from the server, by the monotonic clock."""
        return self._wires[-1].last_received

    def why_lost(self) -> Exception:
        """What ended it, as paramiko tells."""
        return self._transports[-1].get_exception() or EOFError("hung up")

    def start(self) -> Process:
        """Start a shell that takes its program from stdin.

        Raises BlockingIOError if the server wants no more of them at once.
        """
        try:
            with explained(self.where):
                channel = self._transports[-1].open_session(
                    timeout=self._settings.timeout
                )
        except ConnectionFailed as error:
            # paramiko says why to one thread only, if two are refused at a time.
            if self.alive and "Timeout" not in str(error.__cause__):
                raise BlockingIOError(str(error)) from error.__cause__
            raise
        self._channels.add(channel)
        channel.settimeout(min(1.0, self._settings.silence))
        with explained(self.where):
            _execute(channel, COMMAND)
        return Execution(self, channel, self._settings.silence)

    def ended(self, channel: paramiko.Channel) -> None:
        """Forget a channel."""
        self._channels.discard(channel)

    def close(self) -> None:
        """Hang up; nothing is waited for."""
        _close(self._transports, self._wires, self._commands)

    def hang_up(self) -> None:
        """Only close the sockets, for when locks may be held."""
        for wire in self._wires:
            wire.close()

    def abandon(self) -> None:
        """In a child process: make sure that nothing of this touches the server.

        The threads that served the connection are not here, but the locks they held
        are; and a channel says goodbye when it is collected.
        """
        for channel in self._channels:
            channel.lock = threading.Lock()
            channel.closed = True
        for transport in self._transports:
            vars(transport)["active"] = False
        self.hang_up()


def connect(destination: Destination, settings: Settings) -> Connection:
    """Connect and log in, through jump hosts if `~/.ssh/config` says so."""
    builder = _Builder(settings)
    try:
        return builder.connect(destination)
    except BaseException:
        _close(builder.transports, builder.wires, builder.commands)
        raise


def _close(
    transports: list[paramiko.Transport],
    wires: list[Wire],
    commands: list[ProxyCommand],
) -> None:
    # From here outwards: what goes through a jump host has no goodbye to wait for.
    for transport in transports:
        # Its timer is no daemon: it would keep Python from exiting.
        transport.packetizer.complete_handshake()
        transport.close()
    for wire in wires:
        wire.close()
    for command in commands:
        command.close()


class _Builder:
    """Connects step by step, and remembers what is to be closed if a step fails."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.transports: list[paramiko.Transport] = []
        self.wires: list[Wire] = []
        self.commands: list[ProxyCommand] = []

    def connect(self, destination: Destination) -> Connection:
        config = self._look_up(destination)
        sock = self._reach(config, depth=0)
        self._enter(config, sock, destination.password)
        logger.debug("%s: connected", config.where)
        return Connection(
            config.where, self.settings, self.transports, self.wires, self.commands
        )

    def _look_up(self, destination: Destination) -> HostConfig:
        return look_up(
            destination.host,
            destination.user,
            destination.port,
            config_file=self.settings.config_file,
        )

    def _reach(self, config: HostConfig, depth: int) -> SocketLike:
        """Something that leads to the server's port."""
        if config.proxy_command:
            command = ProxyCommand(config.proxy_command, config.where)
            self.commands.append(command)
            return command.socket
        hops = [hop for hop in self._hops(config) if not _same_server(hop, config)]
        if not hops:
            return self._dial(config)
        if depth == MAX_JUMPS:
            raise ConnectionFailed(f"{config.where}: too many jump hosts; a circle?")
        sock = self._reach(hops[0], depth + 1)
        for hop, following in zip(hops, [*hops[1:], config], strict=True):
            gateway = self._enter(hop, sock, None)
            with explained(f"{following.where}, through {hop.where},"):
                sock = gateway.open_channel(
                    "direct-tcpip",
                    (following.host, following.port),
                    ("127.0.0.1", 0),
                    timeout=self.settings.timeout,
                )
        return sock

    def _hops(self, config: HostConfig) -> list[HostConfig]:
        if not config.proxy_jump:
            return []
        try:
            hops = [Destination.parse(hop) for hop in config.proxy_jump.split(",")]
        except InvalidDestination as error:
            raise ConnectionFailed(
                f"{config.where}: ssh configuration: ProxyJump: {error}"
            ) from error
        return [self._look_up(hop) for hop in hops]

    def _dial(self, config: HostConfig) -> socket.socket:
        with explained(config.where):
            family = FAMILIES.get(config.address_family, socket.AF_UNSPEC)
            return _dial(config.host, config.port, family, self.settings.timeout)

    def _enter(
        self, config: HostConfig, sock: SocketLike, password: str | None
    ) -> paramiko.Transport:
        """Negotiate, check the host key, log in."""
        timeout = self.settings.timeout
        wire = Wire(sock, self.settings.silence)
        self.wires.append(wire)
        transport = paramiko.Transport(
            cast("socket.socket", wire), default_window_size=WINDOW
        )
        self.transports.append(transport)
        transport.set_log_channel(PARAMIKO_LOG)
        transport.banner_timeout = transport.handshake_timeout = timeout
        options = transport.get_security_options()
        usual = tuple(options.ciphers)
        options.ciphers = sorted(usual, key=lambda name: name not in CIPHERS)
        order_key_types(options, config)
        try:
            self._negotiate(transport, config)
        except ConnectionFailed as error:
            said = self.commands[-1].said() if config.proxy_command else ""
            if said:
                raise ConnectionFailed(
                    f"{error} Its ProxyCommand said: {said}"
                ) from error.__cause__
            raise
        accept = self.settings.accept_new_host_key or config.accept_new_host_key
        check_host_key(transport, config, accept=accept)
        log_in(transport, config, self.settings, password)
        transport.set_keepalive(int(self.settings.keep_alive))
        return transport

    def _negotiate(self, transport: paramiko.Transport, config: HostConfig) -> None:
        where = config.where
        with explained(where):
            # paramiko counts the banner and the key exchange separately.
            transport.start_client(timeout=2 * self.settings.timeout)
            if not transport.initial_kex_done:
                raise TimeoutError
            if transport.local_cipher.startswith("aes"):
                vars(transport.packetizer)["REKEY_BYTES"] = REKEY_BYTES


def _dial(
    host: str, port: int, family: socket.AddressFamily, timeout: float
) -> socket.socket:
    """Connect to the first of the host's addresses that answers."""
    error: OSError = OSError("no address")
    for found in socket.getaddrinfo(host, port, family, socket.SOCK_STREAM):
        sock = socket.socket(found[0], found[1], found[2])
        try:
            sock.settimeout(timeout)
            sock.connect(found[4])
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        except OSError as failed:
            sock.close()
            error = failed
        else:
            return sock
    raise error


def _execute(channel: paramiko.Channel, command: str) -> None:
    """`exec_command`, without waiting for the reply: that saves a round trip.

    What follows on the channel is read in order.  A refusal closes the channel.
    """
    message = paramiko.Message()
    message.add_byte(paramiko.common.cMSG_CHANNEL_REQUEST)
    message.add_int(channel.remote_chanid)
    message.add_string("exec")
    message.add_boolean(True)
    message.add_string(command)
    transport: Any = channel.get_transport()
    transport._send_user_message(message)


def _same_server(one: HostConfig, other: HostConfig) -> bool:
    """With `Host *`, a jump host's own configuration tells it to jump over itself."""
    return (one.host, one.port) == (other.host, other.port)
