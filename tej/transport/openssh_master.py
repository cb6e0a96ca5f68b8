"""ControlMaster: starts an `ssh` process whose connection several processes share."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tej.transport.openssh_config import SshConfig, check_jumps, digest
from tej.transport.openssh_mux import MuxClient
from tej.transport.runtime_directory import runtime_directory
from tej.transport.settings import Settings

if sys.platform != "win32":
    import fcntl

logger = logging.getLogger("tej")

ALIVE_TIMEOUT = 5.0
KEEP_STDERR = 1 << 16


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


def is_alive(path: Path, timeout: float = ALIVE_TIMEOUT) -> bool:
    """Return whether a ControlMaster at `path` replies within `timeout` seconds."""
    try:
        with MuxClient(str(path), timeout) as mux:
            mux.pid()
    except OSError:
        return False
    return True


def stop_master(path: Path) -> bool:
    """Stop the ControlMaster at `path` and its sessions.

    Returns False if no ControlMaster replied.
    """
    try:
        with MuxClient(str(path), ALIVE_TIMEOUT) as mux:
            mux.terminate()
            stopped = True
    except OSError:
        stopped = False
    # A ControlMaster that crashed or is suspended does not remove its socket.
    with contextlib.suppress(OSError):
        path.unlink()
    return stopped


_locks: dict[str, threading.Lock] = {}
_locks_guard = threading.Lock()


@contextlib.contextmanager
def _exclusively(path: Path) -> Iterator[None]:
    """Lock the path of a ControlMaster, so that only one thread or process logs in.

    Other threads and processes wait for the lock, and then use the same connection.
    """
    with _locks_guard:
        lock = _locks.setdefault(str(path), threading.Lock())
    # A lock of fcntl belongs to a whole process, so the threads of a process need an
    # additional lock.  flock is not used, because a forked child would inherit it.
    with lock, path.with_name(f"{path.name}.lock").open("w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        yield


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
        user_socket = None if number else config.user_socket
        if user_socket and (config.makes_master or is_alive(user_socket)):
            self.path, self.own = user_socket, False

    def ensure(self, *, again: bool = False) -> bool:
        """Start the ControlMaster if it does not run; returns whether it was started.

        If `again` is true, an earlier connection was lost, and a warning explains why
        `ssh` prompts the user again.  Raises ConnectionFailed if the login fails.
        """
        if is_alive(self.path):
            return False
        # The lock file is always in tej's own directory, because tej must not create
        # files beside a ControlPath of the user's configuration.
        with _exclusively(socket_path(self.config, self.number)):
            if is_alive(self.path):
                return False
            with contextlib.suppress(OSError):
                if stat.S_ISSOCK(self.path.lstat().st_mode):
                    self.path.unlink()
            self._start(again=again)
        return True

    def replace(self) -> None:
        """Use a new ControlMaster from now on, because the current one does not work.

        The current ControlMaster is stopped, unless it belongs to the user's own
        configuration.
        """
        if self.own:
            stop_master(self.path)
        else:
            logger.warning(
                "The ControlMaster at %s does not respond: opening another connection",
                self.path,
            )
            self.path, self.own = socket_path(self.config, self.number), True

    def _start(self, *, again: bool) -> None:
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
        status, said = _run(command, limit, show=terminal)
        if status == 0 and is_alive(self.path):
            logger.debug("%s: logged in; master at %s", where, self.path)
            return
        # Most commands find a running ControlMaster, so the module for login errors is
        # imported only here.
        from tej.transport.openssh_failures import connection_error

        raise connection_error(self.config, self.timeout, status, said)

    def _command(self, *, terminal: bool) -> list[str]:
        config, settings = self.config, self.settings
        options = {"ClearAllForwardings": "yes", "ControlPersist": settings.persist}
        if not self.own and config.first("controlpersist") not in ("", "no", "false"):
            del options["ControlPersist"]
        if config.first("remotecommand") not in ("", "none"):
            options["RemoteCommand"] = "none"
        if config.first("serveraliveinterval") in ("", "0"):
            options["ServerAliveInterval"] = str(max(1, int(settings.keep_alive)))
            options["ServerAliveCountMax"] = "3"
        options["ConnectTimeout"] = str(max(1, int(self.timeout)))
        if settings.accept_new_host_key:
            options["StrictHostKeyChecking"] = "accept-new"
        if not terminal:
            options["BatchMode"] = "yes"
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


def _run(command: list[str], limit: float | None, *, show: bool) -> tuple[int, bytes]:
    """Run ssh until it goes to the background; returns its exit status and its stderr.

    The status is -1 if ssh took longer than `limit` seconds and was killed.
    """
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        # In a session of its own, ssh does not receive the SIGINT of Ctrl-C, which
        # would end a connection that other processes share.  If ssh may prompt, it has
        # to stay in the session of this process, which has the terminal.
        start_new_session=not show,
    ) as process:
        assert process.stderr is not None
        relay = _Relay(process.stderr, show=show)
        try:
            status = _wait(process, limit)
        except subprocess.TimeoutExpired:
            status = -1
        finally:
            if process.poll() is None:
                _kill(process, group=not show)
        return status, relay.finish()


def _wait(process: subprocess.Popen[bytes], limit: float | None) -> int:
    """Return the exit status; raise subprocess.TimeoutExpired after `limit` seconds.

    With a limit, `Popen.wait` polls the process in intervals of up to 50 ms, which is a
    noticeable part of a login.  Linux can wait for the end of a process with a limit.
    """
    if limit is None or not hasattr(os, "pidfd_open"):
        return process.wait(limit)
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:  # A sandbox, for example, may forbid the system call.
        return process.wait(limit)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.poll(limit * 1000)
    finally:
        os.close(descriptor)
    return process.wait(0)


def _kill(process: subprocess.Popen[bytes], *, group: bool) -> None:
    """Kill ssh; if `group` is true, also kill the ProxyCommand that ssh started."""
    if group:
        # ssh leads a session of its own, so its pid is the id of its process group.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()


class _Relay(threading.Thread):
    """Thread that collects the last part of ssh's stderr, and shows it if `show`.

    The ControlMaster in the background inherits the pipe and may keep the pipe open for
    hours.  The thread therefore does not wait for end-of-file.  When the foreground
    process has exited, `finish` reads the data that is available and ends the thread.
    """

    def __init__(self, stream: IO[bytes], *, show: bool) -> None:
        super().__init__(name="tej ssh", daemon=True)
        self._pipe = stream.fileno()
        self._show = show
        self._kept = b""
        self._done = threading.Event()
        os.set_blocking(self._pipe, False)
        self.start()

    def run(self) -> None:
        while not self._done.is_set():
            if not self._drain():
                return
            self._done.wait(0.02)
        self._drain()

    def _drain(self) -> bool:
        """Read all data that is available; returns False at the end of stderr."""
        while True:
            try:
                data = os.read(self._pipe, 1 << 16)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not data:
                return False
            self._kept = (self._kept + data)[-KEEP_STDERR:]
            if self._show:
                with contextlib.suppress(OSError):
                    sys.stderr.write(data.decode("utf-8", "replace"))
                    sys.stderr.flush()

    def finish(self) -> bytes:
        self._done.set()
        self.join()
        return self._kept
