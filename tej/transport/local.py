"""This machine as a server, without SSH: what `local:` names."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path

from tej.errors import ConnectionFailed
from tej.transport.base import COMMAND, Completed, Sink, Transport
from tej.transport.process_io import (
    InputClosed,
    Output,
    Process,
    converse,
    first_line,
)

logger = logging.getLogger("tej")

PIECE = 1 << 18
POLL_MS = 100
"""How soon a thread that waits for a pipe sees that the program is over."""
GRACE = 1.0
"""Seconds for a program to clean up once the run was given up."""


class LocalTransport(Transport):
    """Runs programs with this machine's `/bin/sh`, as its own user.

    As with SSH, a program starts in the home directory and in a session of its own:
    Ctrl-C at the terminal interrupts tej, not the program.
    """

    def __init__(self) -> None:
        self.runs = 0
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return "LocalTransport()"

    def run(
        self,
        program: str,
        stdin: Iterable[bytes] = (),
        stdout: Sink | None = None,
    ) -> Completed:
        line = first_line(program)
        output = Output(stdout)
        try:
            with _LocalProcess() as process:
                with self._lock:
                    self.runs += 1
                return converse(process, itertools.chain([line], stdin), output)
        finally:
            output.end()

    def close(self) -> None:
        """Nothing is held."""


def _start() -> subprocess.Popen[bytes]:
    if os.name != "posix" or sys.platform == "win32":
        raise ConnectionFailed(
            "local: needs a POSIX shell, which Windows does not have; "
            "use WSL, or a server: user@host"
        )
    home = Path.home()
    try:
        return subprocess.Popen(
            ["/bin/sh", "-c", COMMAND],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # sshd, too, makes do with / if there is no home.
            cwd=home if home.is_dir() else "/",
            start_new_session=True,
        )
    except OSError as error:
        raise ConnectionFailed(
            f"local: cannot run /bin/sh: {error.strerror}"
        ) from error


class _LocalProcess(Process):
    def __init__(self) -> None:
        self._popen = _start()
        # Popen was given three pipes, so that it has three files.
        self._stdin, self._stdout, self._stderr = (
            pipe.fileno()
            for pipe in (self._popen.stdin, self._popen.stdout, self._popen.stderr)
            if pipe is not None
        )
        self._over = threading.Event()
        # Something the program left running may hold a pipe open: never block on one.
        for pipe in (self._stdin, self._stdout, self._stderr):
            os.set_blocking(pipe, False)

    def __enter__(self) -> _LocalProcess:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in (self._popen.stdin, self._popen.stdout, self._popen.stderr):
            if pipe is not None:
                pipe.close()

    def send(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            if self._over.is_set():
                raise InputClosed
            try:
                rest = rest[os.write(self._stdin, rest) :]
            except BlockingIOError:
                _ready(self._stdin, select.POLLOUT)
            except OSError as error:
                raise InputClosed from error

    def end_input(self) -> None:
        if self._popen.stdin is not None:
            self._popen.stdin.close()

    def receive(self) -> bytes:
        return self._read(self._stdout)

    def receive_error(self) -> bytes:
        return self._read(self._stderr)

    def _read(self, pipe: int) -> bytes:
        while True:
            over = self._over.is_set()
            try:
                return os.read(pipe, PIECE)
            except BlockingIOError:
                if over:
                    return b""
            _ready(pipe, select.POLLIN)

    def wait(self) -> int:
        status = self._popen.wait()
        self._over.set()
        if status < 0:
            raise ConnectionFailed(
                f"The program on local: was ended by {signal.Signals(-status).name}; "
                "what it did is unknown"
            )
        return status

    def abort(self, error: BaseException) -> None:
        logger.debug("local: giving up a program: %r", error)
        # stdin belongs to the thread that sends, which sees this and closes it.
        self._over.set()
        if self._popen.stdout is not None:
            self._popen.stdout.close()
        for goodbye in (signal.SIGHUP, signal.SIGKILL):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(GRACE)
                return
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._popen.pid, goodbye)
        self._popen.wait()


def _ready(pipe: int, event: int) -> None:
    poll = select.poll()
    poll.register(pipe, event)
    poll.poll(POLL_MS)
