"""Socket wrapper for paramiko: buffers reads, and sets a timeout for sends."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import Protocol

BUFFER = 1 << 18


class SocketLike(Protocol):
    """A socket, or an object that paramiko accepts in place of one."""

    def recv(self, size: int, /) -> bytes: ...
    def send(self, data: bytes, /) -> int: ...
    def settimeout(self, seconds: float | None, /) -> None: ...
    def close(self) -> None: ...


class BufferedSocket:
    """A socket for paramiko, with buffered reads and a time limit for a stalled send.

    paramiko reads the 16 bytes of a header, then the rest of a packet.  Because of the
    buffer, one system call reads several packets.  In a forked child, reads and sends
    raise ConnectionResetError, since the parent uses the connection.
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
        """Receive at most `size` bytes like `socket.recv`, but from a buffer."""
        if not self._buffer:
            self._check_process()
            self._buffer = memoryview(self._inner.recv(BUFFER))
            self.last_received = time.monotonic()
        data, self._buffer = bytes(self._buffer[:size]), self._buffer[size:]
        return data

    def send(self, data: bytes) -> int:
        """Send data like `socket.send`.

        If no data can be sent for `io_timeout` seconds, raise ConnectionResetError:
        after a TimeoutError, paramiko would repeat the send without a limit.
        """
        self._check_process()
        try:
            sent = self._inner.send(data)
        except (TimeoutError, BlockingIOError):
            now = time.monotonic()
            if self._stalled_since is None:
                self._stalled_since = now
            if now - self._stalled_since > self._io_timeout:
                raise ConnectionResetError("the server accepts no data") from None
            raise
        self._stalled_since = None
        return sent

    def settimeout(self, seconds: float | None) -> None:
        """Set the timeout of the inner socket, like `socket.settimeout`."""
        self._inner.settimeout(seconds)

    def getpeername(self) -> object:
        """Return the peer's address like `socket.getpeername`.

        Returns a placeholder if the inner object does not know its peer.
        """
        get = getattr(self._inner, "getpeername", None)
        return get() if get else ("unknown", 0)

    def close(self) -> None:
        """Disconnect; in a forked child, only close the child's copy of the socket."""
        self._closed = True
        if isinstance(self._inner, socket.socket) and os.getpid() == self._pid:
            # `shutdown` disconnects even if a child process has a copy of the socket;
            # `close` alone would not.
            with contextlib.suppress(OSError):
                self._inner.shutdown(socket.SHUT_RDWR)
        if isinstance(self._inner, socket.socket) or os.getpid() == self._pid:
            # Closing a channel through a jump host sends a message, which fails if the
            # connection to the jump host is lost.
            with contextlib.suppress(Exception):
                self._inner.close()

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise ConnectionResetError("this connection belongs to another process")
