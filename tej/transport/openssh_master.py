"""ControlMaster: starts an `ssh` process whose connection several processes share.

The module also chooses the `-o` options of `ssh`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from tej.transport.local_shortage import is_shortage
from tej.transport.openssh_config import SshConfig, check_jumps, digest
from tej.transport.openssh_login_process import LoginProcess
from tej.transport.openssh_mux import MuxClient
from tej.transport.runtime_directory import runtime_directory
from tej.transport.settings import KEEP_ALIVE_COUNT, Settings

if sys.platform != "win32":
    import fcntl

logger = logging.getLogger("tej")

ALIVE_TIMEOUT = 5.0

_hung: dict[Path, int] = {}
"""Process id of the user's ControlMaster that opened no session, for each socket."""


def socket_path(config: SshConfig, number: int = 0) -> Path:
    """Return the socket path of tej's own ControlMaster.

    The path contains a hash of the ssh options, so that a connection is shared only
    between processes with the same options.
    """
    options = "\n".join(
        [*config.command, *(f"{k} {v}" for k, v in sorted(config.values.items()))]
    )
    suffix = f"-{number}" if number else ""
    return runtime_directory() / f"{digest(options)}{suffix}"


def master_pid(path: Path) -> int | None:
    """Return the process id of the ControlMaster at `path`.

    Returns None if no ControlMaster replies within ALIVE_TIMEOUT seconds.  Raises
    OSError if a limit of this process or machine is reached, for example of open files.
    """
    try:
        with MuxClient(str(path), ALIVE_TIMEOUT) as mux:
            return mux.pid()
    except OSError as error:
        if is_shortage(error):
            raise
        return None


def is_alive(path: Path) -> bool:
    """Return whether a ControlMaster replies at `path`; see `master_pid`."""
    return master_pid(path) is not None


def _is_usable(path: Path, *, may_start: bool) -> bool:
    """Return whether to use the socket `path` of the user's own configuration.

    `may_start` is whether a ControlMaster may be started there if none runs.
    """
    if path in _hung:
        pid = master_pid(path)
        return pid != _hung[path] and (may_start or pid is not None)
    return may_start or is_alive(path)


def stop_master(path: Path, *, replaced: int | None = None) -> bool:
    """Stop the ControlMaster at `path` and its sessions.

    If `replaced` is a process id, another ControlMaster is not stopped: another process
    has started it meanwhile.  Returns False if no ControlMaster was stopped.  Raises
    OSError if a limit of this process or machine is reached, for example of open files.
    """
    try:
        with MuxClient(str(path), ALIVE_TIMEOUT) as mux:
            if replaced is not None and mux.pid() != replaced:
                return False
            mux.terminate()
            stopped = True
    except OSError as error:
        if is_shortage(error):
            # The socket is kept, because without it a running ControlMaster could no
            # longer be stopped.
            raise
        stopped = False
    # Remove the socket, because a ControlMaster that crashed or is suspended does not.
    with contextlib.suppress(OSError):
        path.unlink()
    return stopped


_locks: dict[str, threading.Lock] = {}
_locks_guard = threading.Lock()


@contextlib.contextmanager
def _exclusively(path: Path, *, wait: bool) -> Iterator[bool]:
    """Lock the path of a ControlMaster, so that only one thread or process logs in.

    Other threads and processes wait for the lock, and then use the same connection.
    Yields True, or False if `wait` is false and the lock is taken.
    """
    with _locks_guard:
        lock = _locks.setdefault(str(path), threading.Lock())
    # A lock of fcntl belongs to a whole process, so the threads of a process need an
    # additional lock.  flock is not used, because a forked child would inherit its
    # lock.
    if not lock.acquire(blocking=wait):
        yield False
        return
    try:
        with path.with_name(f"{path.name}.lock").open("w") as file:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
                locked = True
            except (BlockingIOError, PermissionError):  # POSIX permits both errors.
                locked = False
            yield locked
    finally:
        lock.release()


def _after_fork_in_child() -> None:
    global _locks_guard
    _locks.clear()
    _locks_guard = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


class Master:
    """The ControlMaster for one ssh configuration; `ensure` starts it if necessary."""

    def __init__(self, config: SshConfig, settings: Settings, number: int = 0) -> None:
        self.config = config
        self.settings = settings
        self.number = number
        self.timeout = settings.connect_timeout(config.connect_timeout)
        self.path = socket_path(config, number)
        self.own = True
        self._login: LoginProcess | None = None
        self._lock = contextlib.ExitStack()
        """Holds the lock of `_exclusively` while `_login` is not None."""
        user_socket = None if number else config.user_socket
        if user_socket and _is_usable(user_socket, may_start=config.makes_master):
            self.path, self.own = user_socket, False

    @property
    def is_kept_alive(self) -> bool:
        """Whether `ssh` certainly notices a lost connection (ServerAliveInterval)."""
        return self.own or self.config.first("serveraliveinterval") not in ("", "0")

    def ensure(self, *, again: bool = False) -> bool:
        """Log in if no ControlMaster runs; returns whether a ControlMaster was started.

        If `again` is true, an earlier connection was lost, and a warning explains why
        `ssh` prompts the user again.  Raises ConnectionFailed if the login fails.
        """
        if self._login is None and not self.begin(again=again, wait=True):
            return False
        self._finish()
        return True

    def begin(self, *, again: bool = False, wait: bool = False) -> bool:
        """Start a login if no ControlMaster runs; returns whether a login was started.

        The caller must call `ensure` or `cancel` afterwards, because other processes
        wait until then.  If another process is already logging in, wait for its login,
        or return False if `wait` is false.
        """
        if is_alive(self.path):
            return False
        with contextlib.ExitStack() as stack:
            # The lock file is always in tej's own directory, because tej must not
            # create files beside a ControlPath of the user's configuration.
            lock = _exclusively(socket_path(self.config, self.number), wait=wait)
            if not stack.enter_context(lock) or is_alive(self.path):
                return False
            with contextlib.suppress(OSError):
                if stat.S_ISSOCK(self.path.lstat().st_mode):
                    self.path.unlink()
            self._login = self._start(again=again)
            self._lock = stack.pop_all()
        return True

    def cancel(self) -> None:
        """End the login that `begin` has started, if `ensure` was not called since."""
        login, self._login = self._login, None
        if login is not None:
            with self._lock:
                login.cancel()

    def replace(self, pid: int | None) -> None:
        """Use a new ControlMaster from now on, because the current one does not work.

        The current ControlMaster is stopped, unless it belongs to the user's own
        configuration.  `pid` is its process id, or None if it did not reply.
        """
        if self.own:
            stop_master(self.path, replaced=pid or 0)
        else:
            logger.warning(
                "The ControlMaster at %s does not respond: opening another connection",
                self.path,
            )
            if pid is not None:
                _hung[self.path] = pid
            self.path, self.own = socket_path(self.config, self.number), True

    def _start(self, *, again: bool) -> LoginProcess:
        check_jumps(self.config)
        terminal = self.settings.terminal and not self.number and _has_terminal()
        where = self.config.where
        if terminal and again:
            logger.warning(
                "The connection to %s was lost: ssh may ask you to log in again", where
            )
        command = self._command(terminal=terminal)
        logger.debug("%s: %s", where, " ".join(command))
        limit = None if terminal else self.timeout * 2 + 1
        return LoginProcess(command, limit, show=terminal)

    def _finish(self) -> None:
        """Wait for the login; raise ConnectionFailed if the login failed."""
        login, self._login = self._login, None
        assert login is not None
        where = self.config.where
        with self._lock:
            status, stderr = login.wait()
            if status == 0 and is_alive(self.path):
                logger.debug("%s: logged in; master at %s", where, self.path)
                return
        # If tej cannot log in itself, the user's ControlMaster may work again later.
        _hung.clear()
        # Most commands find a running ControlMaster, so the module for login errors is
        # imported only here.
        from tej.transport.openssh_failures import connection_error

        raise connection_error(
            self.config, self.timeout, status, stderr, is_shown=login.is_shown
        )

    def _command(self, *, terminal: bool) -> list[str]:
        config, settings = self.config, self.settings
        options = {"ClearAllForwardings": "yes", "ControlPersist": settings.persist}
        if not self.own and config.first("controlpersist") not in ("", "no", "false"):
            del options["ControlPersist"]
        if config.first("remotecommand") not in ("", "none"):
            options["RemoteCommand"] = "none"
        if config.first("serveraliveinterval") in ("", "0"):
            options["ServerAliveInterval"] = str(max(1, int(settings.keep_alive)))
            options["ServerAliveCountMax"] = str(KEEP_ALIVE_COUNT)
        options["ConnectTimeout"] = str(max(1, int(self.timeout)))
        if settings.accept_new_host_key:
            options["StrictHostKeyChecking"] = "accept-new"
        if not terminal:
            options["BatchMode"] = "yes"
        elif config.first("loglevel") in ("SILENT", "FATAL"):
            # `ssh -G` prints QUIET as SILENT.  Without the messages of ssh, a refused
            # password looks like a lost connection, and tej would log in again.
            options["LogLevel"] = "ERROR"
        ssh, *rest = config.command
        words = [ssh, "-M", "-N", "-f", "-S", str(self.path)]
        # With -v, ssh prints debug output, in which tej finds the tried keys for its
        # error message.  At a terminal, the user would see this output, so -v is left
        # out.
        words += [] if terminal else ["-v"]
        for name, value in options.items():
            words += ["-o", f"{name}={value}"]
        return [*words, *rest]


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
