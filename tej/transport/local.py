"""Local transport: runs programs with the shell of this machine, for `local:`."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from typing import IO

from tej.destination import home_directory
from tej.errors import ConnectionFailed
from tej.transport.base import Completed, Sink, Transport
from tej.transport.pipes import PipeProcess
from tej.transport.process_io import Output, serve
from tej.transport.program_start import COMMAND, Start

logger = logging.getLogger("tej")

GRACE = 1.0
"""Seconds that `abort` waits for the program to exit before it sends each signal."""


class LocalTransport(Transport):
    """Runs programs with this machine's `/bin/sh`, as the current user.

    As over SSH, a program starts in the home directory.  The program has a session of
    its own, so that Ctrl-C at the terminal interrupts tej, not the program.
    """

    def __init__(self, command: Sequence[str] = ("/bin/sh", "-c", COMMAND)) -> None:
        self.runs = 0
        self._command = list(command)
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return "LocalTransport()"

    def run(
        self,
        program: str,
        stdin: Iterable[bytes] = (),
        stdout: Sink | None = None,
    ) -> Completed:
        start = Start(program)
        output = Output(stdout, start)
        try:
            process = _LocalProcess(self._command)
            with self._lock:
                self.runs += 1
            return serve(process, start, stdin, output, "local:")
        finally:
            output.end()

    def close(self) -> None:
        """Do nothing, because a local transport has no connection."""


def _popen(command: Sequence[str]) -> subprocess.Popen[bytes]:
    if os.name != "posix" or sys.platform == "win32":
        raise ConnectionFailed(
            "'local:' needs a POSIX shell, which Windows does not have; "
            "use WSL, or a server: user@host"
        )
    if signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:
        # Refuse: subprocess.Popen would report exit status 0 for every program.
        error = ConnectionFailed(
            "local: this process ignores SIGCHLD, so the exit statuses of programs "
            "are lost; first call signal.signal(signal.SIGCHLD, "
            "signal.SIG_DFL)"
        )
        error.permanent = True
        raise error
    home = home_directory()
    try:
        return subprocess.Popen(
            command,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # Like sshd, start in / if the home directory does not exist.
            cwd=home if home.is_dir() else "/",
            start_new_session=True,
        )
    except OSError as error:
        raise ConnectionFailed(
            f"local: cannot run /bin/sh: {error.strerror}"
        ) from error


class _LocalProcess(PipeProcess):
    def __init__(self, command: Sequence[str]) -> None:
        self._popen = _popen(command)
        popen = self._popen
        super().__init__(
            _detach(popen.stdin), _detach(popen.stdout), _detach(popen.stderr)
        )
        # PipeProcess closes the descriptors, so Popen must not close them as well.
        self._popen.stdin = self._popen.stdout = self._popen.stderr = None

    def close(self) -> None:
        self.release()

    def wait(self) -> int:
        status = self._popen.wait()
        self.finished()
        if status < 0:
            raise ConnectionFailed(
                f"The program on 'local:' was ended by {signal.Signals(-status).name}; "
                "its work may be incomplete"
            )
        return status

    def abort(self, error: BaseException) -> None:
        logger.debug("local: stopped waiting for a program: %r", error)
        # `finished` stops the thread that sends stdin.  The thread then closes stdin.
        # The program reads end-of-file, and may exit without a signal.
        self.finished()
        self._close("out")
        for signal_number in (signal.SIGHUP, signal.SIGKILL):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(GRACE)
                return
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._popen.pid, signal_number)
        self._popen.wait()


def _detach(pipe: IO[bytes] | None) -> int:
    """Close a file object; returns a duplicate of its descriptor, which stays open."""
    assert (
        pipe is not None
    )  # never None, because all three streams of the Popen are PIPE
    number = os.dup(pipe.fileno())
    pipe.close()
    return number
