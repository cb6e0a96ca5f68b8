"""A connection that is open: what can be run on it, and how it ends."""

from __future__ import annotations

import threading
from typing import Any

import paramiko

from tej.errors import ConnectionFailed
from tej.transport.base import COMMAND
from tej.transport.paramiko.execution import Execution
from tej.transport.paramiko.failures import explained
from tej.transport.paramiko.proxy_command import ProxyCommand
from tej.transport.paramiko.tunnel import Address, open_tunnel
from tej.transport.paramiko.wire import Wire
from tej.transport.settings import Settings


class Connection:
    """A way into a server, and all that it takes: jump hosts, proxy commands.

    `connect` makes it step by step, so that it can be closed whichever step fails.
    """

    def __init__(self, settings: Settings) -> None:
        self.where = "the server"
        self.settings = settings
        self.transports: list[paramiko.Transport] = []
        """The jump hosts', from here outwards, and at last the server's own."""
        self.wires: list[Wire] = []
        self.commands: list[ProxyCommand] = []
        self.channels: set[paramiko.Channel] = set()
        self.tunnels: set[tuple[Address, Address]] = set()

    @property
    def alive(self) -> bool:
        """Whether it is not known to be lost."""
        return self.transports[-1].is_active()

    @property
    def last_received(self) -> float:
        """When a byte last came from the server, by the monotonic clock."""
        return self.wires[-1].last_received

    def why_lost(self) -> Exception:
        """What ended it, as paramiko tells."""
        return self.transports[-1].get_exception() or EOFError("hung up")

    def start(self) -> Execution:
        """Start a shell that takes its program from stdin.

        Raises BlockingIOError if the server wants no more of them at once.
        """
        try:
            with explained(self.where):
                channel = self.transports[-1].open_session(
                    timeout=self.settings.timeout
                )
        except ConnectionFailed as error:
            # paramiko says why to one thread only, if two are refused at a time.
            if self.alive and "Timeout" not in str(error.__cause__):
                raise BlockingIOError(str(error)) from error.__cause__
            raise
        self.channels.add(channel)
        channel.settimeout(min(1.0, self.settings.io_timeout))
        with explained(self.where):
            _execute(channel, COMMAND)
        return Execution(self, channel, self.settings.io_timeout)

    def tunnel(self, listen: Address, target: Address) -> None:
        """Let what connects to `listen` on the server reach `target` here."""
        if (listen, target) not in self.tunnels:
            with explained(self.where):
                open_tunnel(self.transports[-1], listen, target)
            self.tunnels.add((listen, target))

    def close(self) -> None:
        """Hang up.  Nothing is waited for, whatever state the network is in."""
        # From here outwards: what goes through a jump host has no goodbye to wait for.
        for transport in self.transports:
            transport.close()
        self.hang_up()
        for command in self.commands:
            command.close()

    def hang_up(self) -> None:
        """Only close the sockets, for when locks may be held."""
        for wire in self.wires:
            wire.close()

    def abandon(self) -> None:
        """In a child process: make sure that nothing of this touches the server.

        The threads that served the connection are not here, but the locks they held
        are; and a channel says goodbye when it is collected.
        """
        for channel in self.channels:
            channel.lock = threading.Lock()
            channel.closed = True
        for transport in self.transports:
            vars(transport)["active"] = False
        self.hang_up()


def _execute(channel: paramiko.Channel, command: str) -> None:
    """`exec_command`, which would wait for the reply without a limit.

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
