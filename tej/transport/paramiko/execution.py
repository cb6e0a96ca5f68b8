"""Execution of one program on the server, over a paramiko channel of its own."""

from __future__ import annotations

import contextlib
import logging
import time
from typing import Protocol

import paramiko

from tej.errors import ConnectionFailed
from tej.transport.io_timeout import IdleTimer, cut_off, no_exit_status
from tej.transport.paramiko.failures import translating_errors
from tej.transport.process_io import InputClosed, Process

logger = logging.getLogger("tej")

PIECE = 1 << 21
"""Maximum number of bytes to read at a time.

After each read, paramiko copies the unread rest of its buffer.  If the caller's sink is
slower than the network, the buffer is full, and small reads would halve the speed."""
DYING = 0.3
"""Seconds within which paramiko's thread ends after the connection was lost."""
PACKET = 32_768 - 64
"""Maximum number of bytes of data in one packet, for both paramiko and sshd."""


class ChannelOwner(Protocol):
    """The attributes of a connection that an Execution uses."""

    where: str
    channels: set[paramiko.Channel]

    @property
    def alive(self) -> bool: ...

    @property
    def last_received(self) -> float: ...

    def why_lost(self) -> Exception: ...

    def await_loss(self, seconds: float) -> None: ...

    def close(self) -> None: ...


class Execution(Process):
    """A program that runs over a channel; `timer` limits the program's idle time."""

    def __init__(
        self,
        connection: ChannelOwner,
        channel: paramiko.Channel,
        timer: IdleTimer,
    ) -> None:
        self._connection = connection
        self._channel = channel
        self._timer = timer
        self._over = False

    def send(self, data: bytes) -> None:
        for start in range(0, len(data), PACKET):
            piece = data[start : start + PACKET]
            while piece:
                piece = piece[self._send_some(piece) :]
                self._timer.restart()

    def _send_some(self, piece: bytes) -> int:
        while not self._over:
            try:
                sent = self._channel.send(piece)
            except TimeoutError:
                # Try again without a limit, because the thread that reads stdout
                # enforces the idle timeout.
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
        # Restart the timer, because the time that the caller's sink took must not count
        # as idle time of the server.
        self._timer.restart()
        while True:
            try:
                with translating_errors(self._connection.where):
                    return self._channel.recv(PIECE)
            except ConnectionFailed as error:
                if not isinstance(error.__cause__, TimeoutError):
                    raise cut_off(str(error)) from error.__cause__
                self._check()

    def receive_error(self) -> bytes:
        while True:
            try:
                data = self._channel.recv_stderr(PIECE)
            except TimeoutError:
                if self._over:
                    return b""
            else:
                self._timer.restart()
                return data

    def wait(self) -> int:
        while not self._channel.status_event.wait(self._timer.tick):
            self._check()
        status = self._channel.exit_status
        # sshd sends the exit status before the output that it still holds. If the
        # connection is lost meanwhile, the output ends as if it were complete.
        if status == -1 or self._is_cut():
            raise self._no_status()
        self._close()
        return status

    def has_ended(self) -> bool:
        return self._channel.status_event.is_set() and self._channel.exit_status != -1

    def abort(self, error: BaseException) -> None:
        logger.debug(
            "%s: stopped waiting for a program: %r", self._connection.where, error
        )
        if not isinstance(error, Exception):
            # After Ctrl-C, for example, close the whole connection, because closing
            # only the channel might wait until other data has been sent.
            self._connection.close()
        self._close()

    def _close(self) -> None:
        self._over = True
        with contextlib.suppress(paramiko.SSHException, OSError, EOFError):
            self._channel.close()
        self._connection.channels.discard(self._channel)

    def _check(self) -> None:
        try:
            self._timer.check()
        except ConnectionFailed:
            # Close the connection only if the server has sent no data at all during
            # `io_timeout`: otherwise other programs may still use the connection.
            silence = time.monotonic() - self._connection.last_received
            if silence >= self._timer.io_timeout:
                self._connection.close()
            raise

    def _is_cut(self) -> bool:
        """Return whether the output has ended because the connection was lost."""
        if self._channel.eof_received:
            return False
        # A server may close a channel without this message. paramiko also closes its
        # channels shortly before a lost connection counts as such.
        self._connection.await_loss(DYING)
        return not self._connection.alive

    def _no_status(self) -> ConnectionFailed:
        where = self._connection.where
        if not self._connection.alive:
            failure = cut_off(f"The connection to {where} was lost")
            failure.__cause__ = self._connection.why_lost()
        elif not self._channel.event_ready:
            failure = ConnectionFailed(f"{where} refuses to run programs")
        else:
            failure = no_exit_status(where)
        return failure
