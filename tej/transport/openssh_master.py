"""ControlMaster: starts the system's `ssh` as a connection shared between processes."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tej.transport.openssh_config import (
    SshConfig,
    check_jumps,
    digest,
    runtime_directory,
)
from tej.transport.openssh_failures import connection_error
from tej.transport.openssh_mux import MuxClient
from tej.transport.settings import Settings

if sys.platform != "win32":
    import fcntl

logger = logging.getLogger("tej")

ALIVE_TIMEOUT = 5.0
KEEP_STDERR = 1 << 16


def socket_path(config: SshConfig, number: int = 0) -> Path:
    """Return the socket path of tej's own master; each set of options has another."""
    options = "\n".join(
        [*config.command, *(f"{k} {v}" for k, v in sorted(config.values.items()))]
    )
    suffix = f"-{number}" if number else ""
    return runtime_directory() / f"{digest(options)}{suffix}"


def is_alive(path: Path, timeout: float = ALIVE_TIMEOUT) -> bool:
    """Whether a master listens at a path and answers within `timeout` seconds."""
    try:
        with MuxClient(str(path), timeout) as mux:
            mux.pid()
    except OSError:
        return False
    return True


def stop_master(path: Path) -> bool:
    """Stop the master at a path, with its sessions; returns whether it was stopped."""
    try:
        with MuxClient(str(path), ALIVE_TIMEOUT) as mux:
            mux.terminate()
            stopped = True
    except OSError:
        stopped = False
    # A master that crashed or is suspended leaves its socket behind.
    with contextlib.suppress(OSError):
        path.unlink()
    return stopped


_locks: dict[str, threading.Lock] = {}
_locks_guard = threading.Lock()


@contextlib.contextmanager
def _exclusively(path: Path) -> Iterator[None]:
    """Hold a lock for a master's path, so that only one thread or process logs in.

    The others wait here, and then use the same connection.
    """
    with _locks_guard:
        lock = _locks.setdefault(str(path), threading.Lock())
    # A record lock of fcntl belongs to the process, so threads need a lock of their
    # own.  flock is not used, because a forked child would inherit its lock.
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
    """The ControlMaster for one configuration, which is started if necessary."""

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
        """Make sure that a master runs; returns whether this call started it.

        `again` says that an earlier connection was lost.  A warning then explains why
        `ssh` asks the user to log in again.  Raises ConnectionFailed.
        """
        if is_alive(self.path):
            return False
        # The lock file is beside tej's own socket, even for a master of the user's
        # configuration: tej creates no files in the user's directory.
        with _exclusively(socket_path(self.config, self.number)):
            if is_alive(self.path):
                return False
            with contextlib.suppress(OSError):
                if stat.S_ISSOCK(self.path.lstat().st_mode):
                    self.path.unlink()
            self._start(again=again)
        return True

    def replace(self) -> None:
        """Give up a master that does not work, and use a new one from now on.

        A master of the user's own configuration is not stopped.
        """
        if self.own:
            stop_master(self.path)
        else:
            logger.warning(
                "The ssh master at %s does not answer: opening another connection",
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
        # The error message is made from the debug output, which names the keys that
        # were tried.  At a terminal, the user would see that output.
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
    """Run ssh until it goes to the background; returns its status and its stderr.

    The status is -1 if the limit was exceeded.
    """
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        # In its own session, ssh does not get the SIGINT of Ctrl-C, which would end a
        # connection that other processes share.  To prompt, it needs our session's
        # terminal.
        start_new_session=not show,
    ) as process:
        assert process.stderr is not None
        relay = _Relay(process.stderr, show=show)
        try:
            status = process.wait(limit)
        except subprocess.TimeoutExpired:
            status = -1
        finally:
            if process.poll() is None:
                _kill(process, group=not show)
        return status, relay.finish()


def _kill(process: subprocess.Popen[bytes], *, group: bool) -> None:
    """Kill ssh with its ProxyCommand, which would otherwise outlive it."""
    if group:
        # The process leads its own session, so its pid is the number of the group.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()


class _Relay(threading.Thread):
    """Thread that keeps the last part of ssh's stderr, and optionally shows it.

    The master in the background inherits the pipe and may keep it open for hours.  This
    thread therefore does not wait for end-of-file: `finish` reads the data that is
    available when the foreground process has exited.
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
        """Read all data that is available; returns False at the end of the stream."""
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
