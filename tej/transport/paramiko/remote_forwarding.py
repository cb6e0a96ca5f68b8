"""Tunnels: port forwarding from the server to this side, with paramiko."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading

import paramiko

from tej.transport.connection import Address

logger = logging.getLogger("tej")

PIECE = 1 << 15
CONNECT_TIMEOUT = 10.0
"""Time limit in seconds for connecting to the target on this side."""


class Tunnels:
    """The ports of the server that one connection forwards, each with its target."""

    def __init__(self) -> None:
        self._targets: dict[Address, Address] = {}
        self._lock = threading.Lock()

    def open(
        self, transport: paramiko.Transport, listen: Address, target: Address
    ) -> None:
        """Request that the server listens on `listen` and forwards to `target`.

        Two threads serve each forwarded connection.  Raises paramiko.SSHException if
        the server refuses the request, or if the port is in use.
        """
        with self._lock:
            if listen not in self._targets:
                transport.request_port_forward(*listen, handler=self._accept)
            self._targets[listen] = target

    def _accept(
        self, channel: paramiko.Channel, origin: Address, server: Address
    ) -> None:
        # paramiko has one handler for all ports of a connection, so the handler has to
        # find the target by the port in the server's message.  The handler must not
        # block, because it runs in the thread that serves the whole connection.
        target = self._target(server)
        if target is None:
            logger.warning(
                "The tunnel from port %d has no target on this side", server[1]
            )
            channel.close()
            return
        threading.Thread(
            target=_serve, args=(channel, target), name="tej tunnel", daemon=True
        ).start()

    def _target(self, server: Address) -> Address | None:
        if server in self._targets:
            return self._targets[server]
        # Some servers send the address that they listen on instead of the requested
        # address, so compare only the ports.
        ports = {listen[1]: target for listen, target in self._targets.items()}
        return ports.get(server[1])


def _serve(channel: paramiko.Channel, target: Address) -> None:
    with channel:
        try:
            here = socket.create_connection(target, CONNECT_TIMEOUT)
        except OSError as error:
            logger.warning("Tunnel to %s:%d: cannot connect: %s", *target, error)
            return
        with here:
            here.settimeout(None)
            back = threading.Thread(
                target=_pump, args=(here, channel), name="tej tunnel", daemon=True
            )
            back.start()
            _pump(channel, here)
            back.join()


def _pump(
    source: paramiko.Channel | socket.socket, sink: paramiko.Channel | socket.socket
) -> None:
    """Copy all data from `source` to `sink`, then close `sink` for writing."""
    with contextlib.suppress(OSError, EOFError):
        while data := source.recv(PIECE):
            sink.sendall(data)
    with contextlib.suppress(OSError, EOFError):
        if isinstance(sink, paramiko.Channel):
            sink.shutdown_write()
        else:
            sink.shutdown(socket.SHUT_WR)
