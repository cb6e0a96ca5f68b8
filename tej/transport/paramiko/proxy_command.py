"""ProxyCommand: a program whose stdin and stdout lead to the server."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import tempfile

from tej.errors import ConnectionFailed


class ProxyCommand:
    """The program, and a socket to its stdin and stdout.

    paramiko's own class neither notices the end of the program nor reads its stderr,
    which may then block it.
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

    def said(self) -> str:
        """The last characters that it printed on stderr."""
        self._stderr.seek(0)
        return self._stderr.read()[-500:].decode("utf-8", "replace").strip()

    def close(self) -> None:
        """End the program; a forked child leaves it alone."""
        if os.getpid() != self._pid:
            return
        self.socket.close()
        self._popen.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(1)
        self._popen.kill()
        self._popen.wait()
        self._stderr.close()
