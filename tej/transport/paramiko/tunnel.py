"""What connects to a port of the server reaches a port here."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading

import paramiko

logger = logging.getLogger("tej")

PIECE = 1 << 15
DIALING = 10.0
"""Seconds for the connection here to come about."""

Address = tuple[str, int]


def open_tunnel(
    transport: paramiko.Transport, listen: Address, target: Address
) -> None:
    """Ask the server to listen; two threads serve each connection that comes.

    Raises paramiko.SSHException if it does not want to, or the port is taken.
    """

    def accept(channel: paramiko.Channel, origin: Address, server: Address) -> None:
        # Called by the thread that serves the connection: it must not wait.
        threading.Thread(
            target=_serve, args=(channel, target), name="tej tunnel", daemon=True
        ).start()

    transport.request_port_forward(*listen, handler=accept)


def _serve(channel: paramiko.Channel, target: Address) -> None:
    with channel:
        try:
            here = socket.create_connection(target, DIALING)
        except OSError as error:
            logger.warning("The tunnel leads nowhere: %s:%d: %s", *target, error)
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
    """Until the end of one side, which is passed on."""
    with contextlib.suppress(OSError, EOFError):
        while data := source.recv(PIECE):
            sink.sendall(data)
    with contextlib.suppress(OSError, EOFError):
        if isinstance(sink, paramiko.Channel):
            sink.shutdown_write()
        else:
            sink.shutdown(socket.SHUT_WR)
