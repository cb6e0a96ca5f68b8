"""ProxyCommand: run a program whose stdin and stdout are connected to the server."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import tempfile

from tej.errors import ConnectionFailed


class ProxyCommand:
    """The program of a ProxyCommand, with a socket connected to its stdin and stdout.

    paramiko's own class is not used: it does not notice the end of the program, and
    does not read stderr, so that a program that writes much to stderr would block.
    """

    def __init__(self, command: str, where: str) -> None:
        if os.name != "posix":
            raise ConnectionFailed(f"{where}: ProxyCommand does not work on Windows")
        self._pid = os.getpid()
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self.socket, theirs = socket.socketpair()
        with theirs:
            self._popen = subprocess.Popen(
                [os.environ.get("SHELL", "/bin/sh"), "-c", f"exec {command}"],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=self._stderr,
                start_new_session=True,
            )

    def stderr_tail(self) -> str:
        """Return the last 500 bytes that the program wrote to stderr, as text."""
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - 500))
        return self._stderr.read(500).decode("utf-8", "replace").strip()

    def close(self) -> None:
        """Stop the program; in a forked child, do nothing, because the parent uses
        it."""
        if os.getpid() != self._pid:
            return
        self.socket.close()
        self._popen.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(1)
        self._popen.kill()
        self._popen.wait()
        self._stderr.close()
