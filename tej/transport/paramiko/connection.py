"""Connection made by paramiko, with its jump hosts and proxy commands."""

from __future__ import annotations

import threading
import time
from typing import Any

import paramiko

from tej.errors import ConnectionFailed
from tej.transport.connection import Address, Connection
from tej.transport.io_timeout import IdleTimer
from tej.transport.paramiko.buffered_socket import BufferedSocket
from tej.transport.paramiko.execution import Execution
from tej.transport.paramiko.failures import translating_errors
from tej.transport.paramiko.proxy_command import ProxyCommand
from tej.transport.paramiko.remote_forwarding import Tunnels
from tej.transport.program_start import COMMAND, Start
from tej.transport.settings import TIMEOUT, Settings


class ParamikoConnection(Connection):
    """A connection to a server, with the connections to its jump hosts.

    `connect` registers each socket, transport and proxy command in this object at once,
    so that `close` closes all of them if a later step fails.
    """

    def __init__(self, settings: Settings) -> None:
        self.where = "the server"
        self.settings = settings
        self.timeout: float = TIMEOUT
        self.set_env: tuple[str, ...] = ()
        """Variables of SetEnv in the configuration, as NAME=VALUE."""
        self.transports: list[paramiko.Transport] = []
        """Transports to the jump hosts, nearest first, and then to the server."""
        self.sockets: list[BufferedSocket] = []
        self.commands: list[ProxyCommand] = []
        self.channels: set[paramiko.Channel] = set()
        self._tunnels = Tunnels()

    @property
    def alive(self) -> bool:
        return self.transports[-1].is_active()

    @property
    def last_received(self) -> float:
        """Time stamp (`time.monotonic`) of the last data that the server sent."""
        return self.sockets[-1].last_received

    def why_lost(self) -> Exception:
        """Return the error with which paramiko ended the connection."""
        return self.transports[-1].get_exception() or EOFError("hung up")

    def await_loss(self, seconds: float) -> None:
        """Wait until the connection is lost, for at most the given time."""
        self.transports[-1].join(seconds)

    @property
    def _session_timeout(self) -> float:
        """Time limit for opening a session, in seconds.

        The data of other programs may delay the session on a slow connection.
        """
        silence = time.monotonic() - self.last_received
        if self.channels and silence < self.timeout:
            return max(self.timeout, self.settings.io_timeout)
        return self.timeout

    def start(self, start: Start) -> Execution:
        try:
            with translating_errors(self.where):
                channel = self.transports[-1].open_session(
                    timeout=self._session_timeout
                )
        except ConnectionFailed as error:
            # If the connection is alive, any error except a timeout means that the
            # server refused the session.  The reason is not checked, because paramiko
            # passes it to only one thread if two threads are refused at once.
            if self.alive and "Timeout" not in str(error.__cause__):
                raise BlockingIOError(str(error)) from error.__cause__
            raise
        self.channels.add(channel)
        timer = IdleTimer(self.where, self.settings.io_timeout, start)
        channel.settimeout(timer.tick)
        with translating_errors(self.where):
            for variable in self.set_env:
                name, _, value = variable.partition("=")
                _request(channel, "env", name, value)
            _request(channel, "exec", COMMAND, reply=True)
        return Execution(self, channel, timer)

    def tunnel(self, listen: Address, target: Address) -> None:
        with translating_errors(self.where):
            self._tunnels.open(self.transports[-1], listen, target)

    def close(self) -> None:
        # The transport to the nearest jump host is closed first.  The transports that
        # run through this jump host are then disconnected, so closing them is fast.
        for transport in self.transports:
            transport.close()
        self.disconnect()
        for command in self.commands:
            command.close()

    def disconnect(self) -> None:
        for sock in self.sockets:
            sock.close()

    def abandon(self) -> None:
        # The parent's threads do not exist in the child, but the locks that those
        # threads held are still locked.  The channels are marked as closed, because
        # otherwise the garbage collector would make them send a message over the
        # parent's connection.
        for channel in self.channels:
            channel.lock = threading.Lock()
            channel.closed = True
        for transport in self.transports:
            vars(transport)["active"] = False
        self.disconnect()


def _request(
    channel: paramiko.Channel, kind: str, *words: str, reply: bool = False
) -> None:
    """Send a channel request like `exec_command`, but do not wait for the reply.

    `exec_command` waits for the reply without a time limit.  The program's input may
    follow the request at once, because the server reads the channel in order.  If the
    server refuses the request, paramiko closes the channel.
    """
    message = paramiko.Message()
    message.add_byte(paramiko.common.cMSG_CHANNEL_REQUEST)
    message.add_int(channel.remote_chanid)
    message.add_string(kind)
    message.add_boolean(reply)
    for word in words:
        message.add_string(word)
    transport: Any = channel.get_transport()
    transport._send_user_message(message)
