"""One program that runs on the server, on a channel of its own."""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING

import paramiko

from tej.errors import ConnectionFailed
from tej.transport.paramiko.failures import explained
from tej.transport.process_io import InputClosed, Process

if TYPE_CHECKING:
    from tej.transport.paramiko.connection import Connection

logger = logging.getLogger("tej")

PIECE = 1 << 21
"""paramiko moves the rest of its buffer for each piece: small ones cost half the speed
whenever the sink is slower than the network."""
PACKET = 32_768 - 64
"""What paramiko puts into one packet; sshd takes no more."""
IN_DOUBT = "the program may have run or not"


class Execution(Process):
    """A program's channel.  It is given up if no byte goes either way for too long."""

    def __init__(
        self, connection: Connection, channel: paramiko.Channel, io_timeout: float
    ) -> None:
        self._connection = connection
        self._channel = channel
        self._io_timeout = io_timeout
        self._over = False
        self._last = time.monotonic()

    def send(self, data: bytes) -> None:
        for start in range(0, len(data), PACKET):
            piece = data[start : start + PACKET]
            while piece:
                piece = piece[self._send_some(piece) :]
                self._last = time.monotonic()

    def _send_some(self, piece: bytes) -> int:
        while not self._over:
            try:
                sent = self._channel.send(piece)
            except TimeoutError:
                # Whoever receives decides when it has been too long.
                continue
            except (paramiko.SSHException, OSError, EOFError) as error:
                raise InputClosed from error
            if sent:
                return sent
            break
        raise InputClosed

    def end_input(self) -> None:
        with contextlib.suppress(paramiko.SSHException, OSError, EOFError):
            self._channel.shutdown_write()

    def receive(self) -> bytes:
        # A sink may take its time; that is our silence, not the server's.
        self._last = time.monotonic()
        while True:
            try:
                with explained(self._connection.where):
                    return self._channel.recv(PIECE)
            except ConnectionFailed as error:
                if not isinstance(error.__cause__, TimeoutError):
                    raise ConnectionFailed(f"{error}; {IN_DOUBT}") from error.__cause__
                self._check_silence()

    def receive_error(self) -> bytes:
        while True:
            try:
                data = self._channel.recv_stderr(PIECE)
            except TimeoutError:
                if self._over:
                    return b""
            else:
                self._last = time.monotonic()
                return data

    def wait(self) -> int:
        while not self._channel.status_event.wait(min(1.0, self._io_timeout)):
            self._check_silence()
        status = self._channel.exit_status
        if status == -1:
            raise self._no_status()
        self._close()
        return status

    def abort(self, error: BaseException) -> None:
        logger.debug("%s: giving up a program: %r", self._connection.where, error)
        if not isinstance(error, Exception):
            # Interrupted: a goodbye on the channel might be stuck behind other data.
            self._connection.close()
        self._close()

    def _close(self) -> None:
        self._over = True
        with contextlib.suppress(paramiko.SSHException, OSError, EOFError):
            self._channel.close()
        self._connection.channels.discard(self._channel)

    def _check_silence(self) -> None:
        now = time.monotonic()
        if now - self._last < self._io_timeout:
            return
        if now - self._connection.last_received >= self._io_timeout:
            self._connection.close()
        raise ConnectionFailed(
            f"{self._connection.where} was silent for {self._io_timeout:g} s; "
            f"{IN_DOUBT}"
        )

    def _no_status(self) -> ConnectionFailed:
        where = self._connection.where
        if not self._connection.alive:
            failure = ConnectionFailed(
                f"The connection to {where} was lost; {IN_DOUBT}"
            )
            failure.__cause__ = self._connection.why_lost()
        elif not self._channel.event_ready:
            failure = ConnectionFailed(f"{where} refuses to run programs")
        else:
            failure = ConnectionFailed(
                f"The program on {where} was ended by a signal; what it did is unknown"
            )
        return failure
