"""Connection pool: chooses a connection for each program, and reconnects.

sshd limits the sessions of a connection (MaxSessions, 10 by default).  If all sessions
are in use, the pool opens a further connection, so that a short program does not wait
for programs that run for hours.  The pool closes its connections only in `close`, but
`ssh` closes an unused connection after the time `persist` (persist.py).
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import weakref
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import replace

from tej.destination import Destination
from tej.errors import ConnectionFailed
from tej.transport.base import Completed, Sink, Transport
from tej.transport.connection import Address, Connection
from tej.transport.local_shortage import translating_local_errors
from tej.transport.pool_tunnels import Tunnels
from tej.transport.process_io import Output, Process, serve
from tej.transport.program_start import ProgramConsumed, Start
from tej.transport.settings import Settings

logger = logging.getLogger("tej")

MAX_SESSIONS = 8
"""Maximum number of sessions per connection; sshd permits 10 by default."""
MAX_CONNECTIONS = 4
SESSION_TIMEOUT = 1.0
"""Seconds for which a program waits for a free session before a connection is added."""
REFUSED = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Pauses in seconds before a session that sshd refused is requested again.

For a short time after a session has ended, sshd still counts it towards MaxSessions."""


class _Slot:
    """A slot of the pool: one connection, with the number of its sessions."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.limit = MAX_SESSIONS
        self.used = 0
        self.connection: Connection | None = None
        # A thread holds this lock while it connects.  Other threads wait for the lock
        # and then use the same connection, instead of logging in as well.
        self.lock = threading.Lock()


class PooledTransport(Transport):
    """A transport with a pool of connections, which all threads share."""

    def __init__(self, destination: Destination, settings: Settings) -> None:
        self.runs = 0
        self._destination = destination
        self._settings = settings
        self._careful = False
        self._reset()
        _transports.add(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._destination)!r})"

    def _reset(self) -> None:
        self._slots = [_Slot(0)]
        self._changed = threading.Condition()
        self._may_add = True
        self._not_added: ConnectionFailed | None = None
        """Reason why the last additional connection could not be opened."""
        self._proven = False
        """Whether a connection to the server has been made."""
        self._tunnels = Tunnels()

    @abstractmethod
    def _connect(self, number: int) -> Connection:
        """Open connection `number`; only number 0 may prompt the user for a secret."""

    def run(
        self,
        program: str,
        stdin: Iterable[bytes] = (),
        stdout: Sink | None = None,
    ) -> Completed:
        start = Start(program, careful=self._careful)
        output = Output(stdout, start)
        try:
            with self._process(start) as (process, where):
                return serve(process, start, stdin, output, where)
        except ProgramConsumed:
            self._careful = True
            raise
        finally:
            output.end()

    def tunnel(self, listen: Address, target: Address) -> None:
        slot = self._slots[0]
        with translating_local_errors(str(self._destination)):
            connection = self._connected(slot)
            try:
                connection.tunnel(listen, target)
            except ConnectionFailed as error:
                if not connection.alive:
                    self._discard(slot, connection)
                    raise
                raise ConnectionFailed(
                    f"{connection.where} refuses to listen on {listen[0] or '*'}:"
                    f"{listen[1]}: the port is taken, or AllowTcpForwarding is off "
                    f"({error})"
                ) from error
        self._tunnels.add(listen, target)

    def disable_prompts(self) -> None:
        self._settings = replace(self._settings, ask=None, terminal=False)

    def close(self) -> None:
        self._tunnels.clear()
        for slot in list(self._slots):
            with slot.lock:
                connection, slot.connection = slot.connection, None
            if connection is not None:
                connection.close()

    @contextlib.contextmanager
    def _process(self, start: Start) -> Iterator[tuple[Process, str]]:
        """Start a program in a new session; yield its process and the server's name."""
        pauses = iter(REFUSED)
        while True:
            slot = self._take()
            try:
                # Do not disconnect after an error of this machine: the connection still
                # works, and other processes may use it.
                with translating_local_errors(str(self._destination)):
                    started = self._start(slot, start)
                if started is not None:
                    with self._changed:
                        self.runs += 1
                    yield started
                    return
                if slot.connection is not None:
                    self._respect_limit(slot, pauses)
            finally:
                self._give_back(slot)

    def _respect_limit(self, slot: _Slot, pauses: Iterator[float]) -> None:
        """Lower the session limit of a connection after the server refused a session.

        The new limit is the number of this pool's open sessions on the connection.  If
        there are none, sleep for the next pause, so that the caller can try again.
        After the last pause, set the limit to 0, because other processes use all
        sessions.  Raise ConnectionFailed instead if the connection is new (`fresh`).
        """
        with self._changed:
            others = slot.used - 1
            if others:
                slot.limit = min(slot.limit, others)
                return
        pause = next(pauses, None)
        if pause is not None:
            time.sleep(pause)
            return
        connection = slot.connection
        if connection is None or connection.fresh:
            where = getattr(connection, "where", "The server")
            raise ConnectionFailed(f"{where} refuses to open a session")
        logger.debug("%s: other processes use all sessions", connection.where)
        with self._changed:
            slot.limit = 0
            self._changed.notify_all()

    def _start(self, slot: _Slot, start: Start) -> tuple[Process, str] | None:
        """Start a program on the connection of `slot`.

        Returns the process and the server's name.  Returns None if the server permits
        no further session on this connection, or if an additional connection cannot be
        opened.
        """
        while True:
            try:
                connection = self._connected(slot)
            except ConnectionFailed as error:
                if slot.number == 0:
                    raise
                # Other connections exist, since this connection is not the first.  Wait
                # for a session on one of them, and open no more connections.
                logger.debug("no further connection: %s", error)
                with self._changed:
                    self._may_add, self._not_added = False, error
                    slot.limit = 0
                    self._changed.notify_all()
                return None
            try:
                process = connection.start(start)
            except BlockingIOError as error:
                logger.debug("%s: no further session: %s", connection.where, error)
                return None
            except ConnectionFailed as error:
                fresh = connection.fresh
                self._discard(slot, connection)
                if fresh:
                    # The login has succeeded, so the host and port are right.
                    error.cut = True
                    raise
                logger.debug("%s: connecting again: %s", connection.where, error)
                continue
            connection.fresh = False
            return process, connection.where

    def _take(self) -> _Slot:
        """Reserve a session and return the slot of its connection.

        If no session becomes free within SESSION_TIMEOUT seconds, add a slot for a
        further connection.  Raises ConnectionFailed if other processes use all sessions
        of all connections, and no connection can be added.
        """
        with self._changed:
            while not self._is_free():
                if self._may_add and len(self._slots) < MAX_CONNECTIONS:
                    if self._has_sessions() and self._wait(SESSION_TIMEOUT):
                        continue
                    self._slots.append(_Slot(len(self._slots)))
                elif self._has_sessions():
                    self._wait(None)
                else:
                    raise self._no_session()
            slot = next(one for one in self._slots if one.used < one.limit)
            slot.used += 1
            return slot

    def _is_free(self) -> bool:
        return any(slot.used < slot.limit for slot in self._slots)

    def _has_sessions(self) -> bool:
        return any(slot.limit for slot in self._slots)

    def _wait(self, seconds: float | None) -> bool:
        """Wait for a free session; returns False if the time limit is reached.

        Also returns True if no connection has sessions left for this process.
        """
        return self._changed.wait_for(
            lambda: self._is_free() or not self._has_sessions(), seconds
        )

    def _no_session(self) -> ConnectionFailed:
        """Return the error for connections whose sessions other processes use.

        The limits are reset, so that the next program tries all connections again.
        """
        self._may_add = True
        for slot in self._slots:
            slot.limit = MAX_SESSIONS
        self._changed.notify_all()
        reason = self._not_added or f"tej opens at most {MAX_CONNECTIONS}"
        return ConnectionFailed(
            f"{self._destination} refuses to open a session: other programs use all "
            "sessions of the shared connection (MaxSessions of sshd). End some of the "
            "programs, or repeat the command later. No further connection was opened: "
            f"{reason}"
        )

    def _give_back(self, slot: _Slot) -> None:
        with self._changed:
            slot.used -= 1
            self._changed.notify()

    def _connected(self, slot: _Slot) -> Connection:
        with slot.lock:
            if slot.connection is not None:
                if slot.connection.alive:
                    if not slot.number:
                        self._tunnels.restore(slot.connection)
                    return slot.connection
                slot.connection.replace()
                slot.connection = None
            try:
                slot.connection = self._connect(slot.number)
            except ConnectionFailed as error:
                # The error is not permanent if an earlier connection has proved that
                # the host and port are right.
                error.permanent = error.permanent and not self._proven
                raise
            self._proven = True
            if not slot.number:
                self._tunnels.lose()
                self._tunnels.restore(slot.connection)
            return slot.connection

    def _discard(self, slot: _Slot, connection: Connection) -> None:
        with slot.lock:
            if slot.connection is connection:
                slot.connection = None
        connection.replace()

    def _after_fork(self) -> None:
        """Release the parent's connections in a forked child, without using them.

        All locks are replaced by new locks, since a thread of the parent may have
        locked the old ones.
        """
        connections = [slot.connection for slot in self._slots]
        self._reset()
        for connection in connections:
            if connection is not None:
                connection.abandon()

    def __del__(self) -> None:
        # The garbage collector may call `__del__` in a thread that holds a lock of the
        # pool.  Therefore do not wait for that lock: the thread would deadlock.
        for slot in getattr(self, "_slots", ()):
            if slot.connection is not None:
                slot.connection.disconnect()


_transports: weakref.WeakSet[PooledTransport] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for transport in list(_transports):
        transport._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
