"""Socket wrapper for paramiko: buffered, with a send timeout, closed by a fork."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import Protocol

BUFFER = 1 << 18


class SocketLike(Protocol):
    """A socket, or an object that paramiko accepts as one."""

    def recv(self, size: int, /) -> bytes: ...
    def send(self, data: bytes, /) -> int: ...
    def settimeout(self, seconds: float | None, /) -> None: ...
    def close(self) -> None: ...


class Wire:
    """A socket for paramiko: buffered, with a limit on how long a send may stall.

    paramiko reads the 16 bytes of a header, then the rest of a packet; the buffer
    reduces that to one system call for several packets.
    """

    def __init__(self, inner: SocketLike, io_timeout: float) -> None:
        self._inner = inner
        self._pid = os.getpid()
        self._io_timeout = io_timeout
        self._buffer = memoryview(b"")
        self._stalled_since: float | None = None
        self._closed = False
        self.last_received = time.monotonic()

    def recv(self, size: int) -> bytes:
        """As a socket's."""
        if not self._buffer:
            self._check_process()
            self._buffer = memoryview(self._inner.recv(BUFFER))
            self.last_received = time.monotonic()
        data, self._buffer = bytes(self._buffer[:size]), self._buffer[size:]
        return data

    def send(self, data: bytes) -> int:
        """As a socket's; paramiko repeats it after a timeout, without a limit."""
        self._check_process()
        try:
            sent = self._inner.send(data)
        except (TimeoutError, BlockingIOError):
            now = time.monotonic()
            if self._stalled_since is None:
                self._stalled_since = now
            if now - self._stalled_since > self._io_timeout:
                raise ConnectionResetError("the other side takes no data") from None
            raise
        self._stalled_since = None
        return sent

    def settimeout(self, seconds: float | None) -> None:
        """As a socket's."""
        self._inner.settimeout(seconds)

    def getpeername(self) -> object:
        """As a socket's."""
        get = getattr(self._inner, "getpeername", None)
        return get() if get else ("unknown", 0)

    def close(self) -> None:
        """Disconnect; in a forked child, only close the copy."""
        self._closed = True
        if isinstance(self._inner, socket.socket) and os.getpid() == self._pid:
            # A child process may hold a copy: closing alone would not disconnect.
            with contextlib.suppress(OSError):
                self._inner.shutdown(socket.SHUT_RDWR)
        if isinstance(self._inner, socket.socket) or os.getpid() == self._pid:
            # A jump host's channel sends a message, which fails if the host is gone.
            with contextlib.suppress(Exception):
                self._inner.close()

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise ConnectionResetError("this connection belongs to another process")
