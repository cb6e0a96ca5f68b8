"""Open connection of paramiko, with its jump hosts and proxy commands."""

from __future__ import annotations

import threading
from typing import Any

import paramiko

from tej.errors import ConnectionFailed
from tej.transport.paramiko.execution import Execution
from tej.transport.paramiko.failures import explained
from tej.transport.paramiko.proxy_command import ProxyCommand
from tej.transport.paramiko.tunnel import Tunnels
from tej.transport.paramiko.wire import Wire
from tej.transport.pool import Address, Connection
from tej.transport.process_io import IdleTimer
from tej.transport.settings import TIMEOUT, Settings
from tej.transport.start import COMMAND, Start


class ParamikoConnection(Connection):
    """A connection to a server, and the connections that it runs through.

    `connect` fills it step by step, so that it can be closed whichever step fails.
    """

    def __init__(self, settings: Settings) -> None:
        self.where = "the server"
        self.settings = settings
        self.timeout: float = TIMEOUT
        self.set_env: tuple[str, ...] = ()
        """Variables of SetEnv in the configuration, as NAME=VALUE."""
        self.transports: list[paramiko.Transport] = []
        """One for each jump host, from here outwards; the server's own is the last."""
        self.wires: list[Wire] = []
        self.commands: list[ProxyCommand] = []
        self.channels: set[paramiko.Channel] = set()
        self._tunnels = Tunnels()

    @property
    def alive(self) -> bool:
        return self.transports[-1].is_active()

    @property
    def last_received(self) -> float:
        """Time at which the server last sent anything, by the monotonic clock."""
        return self.wires[-1].last_received

    def why_lost(self) -> Exception:
        """The error with which paramiko ended the connection."""
        return self.transports[-1].get_exception() or EOFError("hung up")

    def start(self, start: Start) -> Execution:
        try:
            with explained(self.where):
                channel = self.transports[-1].open_session(timeout=self.timeout)
        except ConnectionFailed as error:
            # If two threads are refused at once, paramiko tells only one the reason.
            if self.alive and "Timeout" not in str(error.__cause__):
                raise BlockingIOError(str(error)) from error.__cause__
            raise
        self.channels.add(channel)
        timer = IdleTimer(self.where, self.settings.io_timeout, start)
        channel.settimeout(timer.tick)
        with explained(self.where):
            for variable in self.set_env:
                name, _, value = variable.partition("=")
                _request(channel, "env", name, value)
            _request(channel, "exec", COMMAND, reply=True)
        return Execution(self, channel, timer)

    def tunnel(self, listen: Address, target: Address) -> None:
        with explained(self.where):
            self._tunnels.open(self.transports[-1], listen, target)

    def close(self) -> None:
        # From here outwards: a connection through a jump host that is gone has nobody
        # left to wait for.
        for transport in self.transports:
            transport.close()
        self.hang_up()
        for command in self.commands:
            command.close()

    def hang_up(self) -> None:
        for wire in self.wires:
            wire.close()

    def abandon(self) -> None:
        # The parent's threads do not exist here, but the locks that they held do; and
        # a channel sends a message when it is collected.
        for channel in self.channels:
            channel.lock = threading.Lock()
            channel.closed = True
        for transport in self.transports:
            vars(transport)["active"] = False
        self.hang_up()


def _request(
    channel: paramiko.Channel, kind: str, *words: str, reply: bool = False
) -> None:
    """Like `exec_command`, but without its unlimited wait for the reply.

    The server reads the channel in order, so input may follow at once.  A refusal
    closes the channel.
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
