"""Login process: run `ssh` until it has logged in and goes to the background."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import IO

from tej.transport.local_shortage import start_thread

KEEP_STDERR = 1 << 16


class LoginProcess:
    """A running `ssh` that becomes a ControlMaster when it has logged in."""

    def __init__(
        self, command: Sequence[str], limit: float | None, *, show: bool
    ) -> None:
        """Start `ssh`; `limit` is the time limit of the login in seconds.

        If `show` is true, `ssh` may prompt at the terminal, and its stderr is shown.
        """
        self._limit = limit
        self.is_shown = show
        """Whether the user sees the stderr of `ssh`."""
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            # In a session of its own, ssh does not receive the SIGINT of Ctrl-C, which
            # would end a connection that other processes share.  If ssh may prompt, it
            # has to stay in the session of this process, which has the terminal.
            start_new_session=not show,
        )
        assert self._process.stderr is not None
        try:
            self._relay = _Relay(self._process.stderr, show=show)
        except BaseException:
            _kill(self._process, group=not show)
            self._process.stderr.close()
            raise

    def wait(self) -> tuple[int, bytes]:
        """Wait until ssh goes to the background; return its exit status and its stderr.

        The status is -1 if ssh took longer than the limit and was killed.
        """
        try:
            status = _wait(self._process, self._limit)
        except subprocess.TimeoutExpired:
            status = -1
        finally:
            stderr = self._end()
        return status, stderr

    def cancel(self) -> None:
        """End ssh if it has not gone to the background yet."""
        if self.is_shown:
            # SIGTERM lets ssh restore the echo of the terminal after a prompt.
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1)
        self._end()

    def _end(self) -> bytes:
        """Kill ssh if it still runs, and return its stderr."""
        process = self._process
        if process.poll() is None:
            _kill(process, group=not self.is_shown)
        stderr = self._relay.finish()
        assert process.stderr is not None
        process.stderr.close()
        return stderr


def _wait(process: subprocess.Popen[bytes], limit: float | None) -> int:
    """Return the exit status; raise subprocess.TimeoutExpired after `limit` seconds.

    With a limit, `Popen.wait` polls the process in intervals of up to 50 ms, which is a
    noticeable part of a login.  On Linux, a pidfd avoids this polling.
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
    """Thread that collects the last part of ssh's stderr, and may also show it.

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
        start_thread(self, "ssh")

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
