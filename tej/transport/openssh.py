"""OpenSSH transport: runs programs over a connection of the system's `ssh`.

`ssh` does the login, so all of ~/.ssh/config, certificates, hardware keys, Kerberos and
two-factor logins work as usual.  After the login, the `ssh` process runs in the
background as a ControlMaster.  As long as the ControlMaster runs, tej opens sessions
through its socket, without further logins.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator

from tej.errors import ConnectionFailed
from tej.transport.connection import Address, Connection
from tej.transport.io_timeout import IdleTimer, cut_off, no_exit_status
from tej.transport.local_shortage import is_shortage
from tej.transport.openssh_config import ConfigQuery, read_config
from tej.transport.openssh_master import ALIVE_TIMEOUT, Master
from tej.transport.openssh_mux import MuxClient, Refused, make_pipes
from tej.transport.pipes import PipeProcess
from tej.transport.pool import PooledTransport
from tej.transport.program_start import COMMAND, Start

logger = logging.getLogger("tej")

DYING = 0.3
"""Seconds within which a ControlMaster exits after its connection was lost."""
EXITED = 0.1
"""Seconds to wait for an exit status that should have arrived already."""


class OpensshTransport(PooledTransport):
    """Runs programs on one server, through ControlMasters of `ssh`."""

    _query: ConfigQuery | None = None
    _early: MasterConnection | None = None
    """The connection that `connect_early` has begun to open."""
    _logins = 0

    def prepare(self) -> None:
        # If `ssh` cannot be run now, `_connect` tries again and raises the error.
        with self._slots[0].lock, contextlib.suppress(ConnectionFailed):
            if self._query is None:
                self._query = ConfigQuery(self._destination, self._settings)

    def connect_early(self) -> None:
        with self._slots[0].lock:
            query = self._take_query()
            if query is None:
                return
            connection = MasterConnection(Master(query.result(), self._settings))
            if connection.begin():
                self._early = connection

    def _connect(self, number: int) -> MasterConnection:
        connection = None
        if number == 0:
            connection, self._early = self._early, None
        if connection is None:
            # The configuration is read again for each connection, because a file may
            # have changed, or a `Match exec` may give another result in another
            # network.
            query = None if number else self._take_query()
            if query is None:
                config = read_config(self._destination, self._settings)
            else:
                config = query.result()
            connection = MasterConnection(Master(config, self._settings, number))
        connection.open(again=self._logins > 0)
        self._logins += 1
        return connection

    def _take_query(self) -> ConfigQuery | None:
        """Take the `ssh -G` query that `prepare` started; return None without a query.

        The caller must hold the lock of the first slot.
        """
        query, self._query = self._query, None
        return query

    def close(self) -> None:
        with self._slots[0].lock:
            query = self._take_query()
            early, self._early = self._early, None
        if query is not None:
            query.cancel()
        if early is not None:
            early.close()
        super().close()

    def _after_fork(self) -> None:
        if self._early is not None:
            self._early.abandon()
        self._query = self._early = None
        super()._after_fork()


class MasterConnection(Connection):
    """A ControlMaster as a connection of the pool."""

    def __init__(self, master: Master) -> None:
        self.where = master.config.where
        self.master = master
        self._environment = master.config.environment()
        self._tunnels: dict[Address, Address] = {}
        self._lost = False
        self._pid: int | None = None
        """Process id of the ControlMaster, once it has replied."""
        self._early: list[tuple[MuxClient, list[int]]] = []
        """The session that `begin` has requested, if no program uses it yet."""

    @property
    def alive(self) -> bool:
        return not self._lost

    def begin(self) -> bool:
        """Start to log in, or request the session of the first program.

        Does not wait for the server.  Returns False if neither is possible now; `open`
        and `start` then do both later.
        """
        if self.master.begin():
            return True
        # If another process is just logging in, the socket does not exist yet.
        with contextlib.suppress(OSError, ConnectionFailed):
            self._early.append(self._request_session())
        return bool(self._early)

    def open(self, *, again: bool) -> None:
        """Log in, unless a ControlMaster already runs."""
        self.fresh = not self._early and self.master.ensure(again=again)

    def start(self, start: Start) -> MasterSession:
        limit = self.master.settings.io_timeout
        # Without keep-alives, `ssh` may not notice a lost connection for 15 minutes.
        patience = limit if self.master.is_kept_alive else self.master.timeout
        try:
            mux, pipes = self._early.pop()
        except IndexError:
            mux, pipes = self._request_session()
        with self._closing_on_error(pipes, mux):
            self._wait_for_session(mux, IdleTimer(self.where, patience, start))
            probe = MuxClient(str(self.master.path), self.master.timeout)
        timer = IdleTimer(self.where, limit, start)
        return MasterSession(self, mux, probe, pipes, timer)

    def _wait_for_session(self, mux: MuxClient, timer: IdleTimer) -> None:
        """Wait for a session; raise ConnectionFailed at the time limit of `timer`.

        The data of other programs may delay the session on a slow connection.  If the
        connection is lost, `ssh` notices it (ServerAliveInterval) and exits.
        """
        while True:
            try:
                mux.wait_for_session(timer.tick)
            except TimeoutError:
                timer.check()
            else:
                return
            finally:
                self._pid = mux.master_pid

    def _request_session(self) -> tuple[MuxClient, list[int]]:
        """Request a session without waiting for the server.

        Returns the client, and this process's ends of the pipes for stdin, stdout and
        stderr.
        """
        ours, theirs = make_pipes()
        try:
            with self._closing_on_error(ours):
                mux = MuxClient(str(self.master.path), self.master.timeout)
            with self._closing_on_error(ours, mux):
                mux.request_session(COMMAND, self._environment, theirs)
        finally:
            # The ControlMaster has copies of the descriptors in `theirs`. This process
            # closes its own copies, because it would otherwise not read end-of-file
            # when the ControlMaster closes the copies.
            self._close_all(theirs)
        return mux, ours

    @contextlib.contextmanager
    def _closing_on_error(
        self, pipes: list[int], mux: MuxClient | None = None
    ) -> Iterator[None]:
        """Close the descriptors of a session after an error, and translate the error.

        Raises BlockingIOError if the session was refused, ConnectionFailed if the
        ControlMaster does not work, and OSError if a limit of this process is reached.
        """
        try:
            yield
        except BaseException as error:
            if mux is not None:
                mux.close()
            self._close_all(pipes)
            if isinstance(error, Refused):
                raise BlockingIOError(str(error)) from error
            if isinstance(error, OSError) and not is_shortage(error):
                raise self._failure(error) from error
            raise

    def _failure(self, error: OSError) -> ConnectionFailed:
        self._lost = True
        reason = error.strerror or str(error)
        return ConnectionFailed(f"The connection to {self.where} failed: {reason}")

    @staticmethod
    def _close_all(descriptors: list[int]) -> None:
        for descriptor in descriptors:
            os.close(descriptor)

    def tunnel(self, listen: Address, target: Address) -> None:
        try:
            with MuxClient(str(self.master.path), self.master.timeout) as mux:
                mux.forward(listen, target)
        except Refused as error:
            raise ConnectionFailed(str(error)) from error
        except OSError as error:
            if is_shortage(error):
                raise
            raise self._failure(error) from error
        self._tunnels[listen] = target

    def close(self) -> None:
        """Stop the tunnels of this process.

        The ControlMaster continues to run for other processes (see ControlPersist).
        """
        self.master.cancel()
        while self._early:
            mux, pipes = self._early.pop()
            mux.close()
            self._close_all(pipes)
        for listen, target in self._tunnels.items():
            with (
                contextlib.suppress(OSError, Refused),
                MuxClient(str(self.master.path), 1.0) as mux,
            ):
                mux.forward(listen, target, close=True)
        self._tunnels.clear()

    def abandon(self) -> None:
        # Close the child's copies of the pipes.  Otherwise, the program would not read
        # end-of-file when the parent closes the program's stdin.
        while self._early:
            mux, pipes = self._early.pop()
            mux.forget()
            self._close_all(pipes)

    def replace(self) -> None:
        self.master.replace(self._pid)


class MasterSession(PipeProcess):
    """A program on the server, whose standard streams are pipes of this process.

    The ControlMaster copies data between the pipes and the server.
    """

    def __init__(
        self,
        connection: MasterConnection,
        mux: MuxClient,
        probe: MuxClient,
        pipes: list[int],
        timer: IdleTimer,
    ) -> None:
        stdin, stdout, stderr = pipes
        super().__init__(stdin, stdout, stderr, timer)
        self._connection = connection
        self._mux = mux
        # Without this second client, a ControlMaster that the user has started may exit
        # as soon as its last session has ended, or remove its socket (`ssh -O stop`).
        self._probe = probe
        self._idle = timer

    def wait(self) -> int:
        while True:
            try:
                status = self._mux.exit_status(self._idle.tick)
            except TimeoutError:
                self._idle.check()
                continue
            except OSError:
                status = None
            if status is None:
                raise self._no_status()
            # sshd sends the exit status before the output that it still holds. If the
            # connection is lost meanwhile, the output ends as if it were complete.
            if not self._has_master():
                raise self._lost()
            self.finished()
            return status

    def has_ended(self) -> bool:
        try:
            return self._mux.exit_status(EXITED) is not None
        except OSError:
            return False

    def abort(self, error: BaseException) -> None:
        logger.debug(
            "%s: stopped waiting for a program: %r", self._connection.where, error
        )
        self.finished()
        self._mux.close()
        self._probe.close()

    def close(self) -> None:
        self.finished()
        self._mux.close()
        self._probe.close()
        self.release()

    def after_fork(self) -> None:
        self._mux.forget()
        self._probe.forget()
        super().after_fork()

    def _no_status(self) -> ConnectionFailed:
        where = self._connection.where
        # A ControlMaster exits within DYING seconds after its connection was lost.  If
        # the ControlMaster still runs, the connection works, and the program had no
        # exit status because a signal ended it.
        deadline = time.monotonic() + DYING
        while self._has_master():
            if time.monotonic() > deadline:
                return no_exit_status(where)
            time.sleep(0.02)
        return self._lost()

    def _lost(self) -> ConnectionFailed:
        failure = cut_off(f"The connection to {self._connection.where} was lost")
        failure.__cause__ = EOFError("ssh has ended")
        return failure

    def _has_master(self) -> bool:
        """Return whether the ControlMaster that has opened this session still runs."""
        try:
            return self._probe.pid(ALIVE_TIMEOUT) == self._mux.master_pid
        except OSError:
            return False
