"""Programs over one shared connection: when to connect, when again, how many at once.

paramiko is imported when the first program is run, not before.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import signal
import threading
import time
import weakref
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from tej.destination import Destination
from tej.errors import ConnectionFailed
from tej.transport.base import Completed, Sink, Transport
from tej.transport.paramiko.slots import Slots
from tej.transport.process_io import Output, Process, converse, first_line
from tej.transport.settings import Settings

if TYPE_CHECKING:
    from tej.transport.paramiko.connection import Connection

logger = logging.getLogger("tej")

MAX_CHANNELS = 8
"""sshd allows 10 sessions on a connection, unless it is told otherwise."""
PATIENCE = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Seconds between tries: sshd counts a session that has ended a little longer."""


class SshTransport(Transport):
    """Runs programs on one server, over one connection, as its login shell's user."""

    def __init__(self, destination: Destination, settings: Settings) -> None:
        self.runs = 0
        self._destination = destination
        self._settings = settings
        self._start_afresh()
        _transports.add(self)

    def __repr__(self) -> str:
        return f"SshTransport({str(self._destination)!r})"

    def _start_afresh(self) -> None:
        self._connection: Connection | None = None
        self._lock = threading.Lock()
        self._slots = Slots(MAX_CHANNELS)

    def run(
        self,
        program: str,
        stdin: Iterable[bytes] = (),
        stdout: Sink | None = None,
    ) -> Completed:
        line = first_line(program)
        output = Output(stdout)
        try:
            with self._slots:
                process = self._start()
                return converse(process, itertools.chain([line], stdin), output)
        finally:
            output.end()

    def tunnel(self, listen: tuple[str, int], target: tuple[str, int]) -> None:
        connection, _ = self._connected()
        try:
            connection.tunnel(listen, target)
        except ConnectionFailed as error:
            if not connection.alive:
                self._discard(connection)
                raise
            raise ConnectionFailed(
                f"{connection.where} does not listen on {listen[0] or '*'}:{listen[1]} "
                f"for us: the port is taken, or AllowTcpForwarding is off ({error})"
            ) from error

    def close(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _start(self) -> Process:
        """A shell on the server that waits for its program: nothing has run yet."""
        patience = iter(PATIENCE)
        while True:
            connection, fresh = self._connected()
            try:
                process = connection.start()
            except BlockingIOError as error:
                if not self._slots.shrink():
                    pause = next(patience, None)
                    if pause is None:
                        raise ConnectionFailed(
                            f"{connection.where} refuses to open a session"
                        ) from error
                    time.sleep(pause)
                continue
            except ConnectionFailed as error:
                self._discard(connection)
                if fresh:
                    raise
                logger.debug("%s: connecting again: %s", connection.where, error)
                continue
            with self._lock:
                self.runs += 1
            return process

    def _connected(self) -> tuple[Connection, bool]:
        """The connection, and whether it was made just now."""
        with self._lock:
            if self._connection is not None:
                if self._connection.alive:
                    return self._connection, False
                self._connection.close()
                self._connection = None
            with _uninterrupted():
                from tej.transport.paramiko.connect import connect

            self._connection = connect(self._destination, self._settings)
            return self._connection, True

    def _discard(self, connection: Connection) -> None:
        with self._lock:
            if self._connection is connection:
                self._connection = None
        connection.close()

    def _after_fork(self) -> None:
        """In the child: let go of the parent's connection without a word to it."""
        connection = self._connection
        self._start_afresh()
        if connection is not None:
            connection.abandon()

    def __del__(self) -> None:
        # Locks may be held by whatever thread this happens in: only hang up.
        connection = getattr(self, "_connection", None)
        if connection is not None:
            connection.hang_up()


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C waits: a library that was imported by half stays so for the process."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_transports: weakref.WeakSet[SshTransport] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for transport in list(_transports):
        transport._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
