"""Client of OpenSSH's multiplexing protocol: sessions and tunnels over one `ssh`.

An `ssh` that runs as a ControlMaster listens on a socket.  This module requests
sessions and port forwardings over that socket, in place of a second `ssh` process.  A
second `ssh` process would hide why a request was refused, whether a session was opened,
and how its program ended.  The protocol is version 4, described in PROTOCOL.mux of
OpenSSH and unchanged since 2010.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from collections.abc import Sequence

HELLO, VERSION = 0x00000001, 4
NEW_SESSION, ALIVE_CHECK, TERMINATE = 0x10000002, 0x10000004, 0x10000005
OPEN_FORWARD, CLOSE_FORWARD = 0x10000006, 0x10000007
REMOTE = 2
OK, PERMISSION_DENIED, FAILURE = 0x80000001, 0x80000002, 0x80000003
EXIT_MESSAGE, ALIVE = 0x80000004, 0x80000005
SESSION_OPENED, REMOTE_PORT = 0x80000006, 0x80000007
NO_ESCAPE = 0xFFFFFFFF
MAX_MESSAGE = 1 << 18
FULL_QUEUE = 0.02
"""Seconds between two attempts to connect to a socket whose queue is full."""

Address = tuple[str, int]


class Refused(Exception):
    """The ControlMaster works, but refuses a request for the reason in the message."""


class MuxClient:
    """A connection to the socket of a ControlMaster, for at most one session.

    All methods raise ConnectionResetError or another OSError if the ControlMaster has
    exited, and TimeoutError if it does not reply in time.
    """

    def __init__(self, path: str, timeout: float) -> None:
        self._deadline = time.monotonic() + timeout
        self._unread = b""
        self.master_pid: int | None = None
        """Process id of the ControlMaster, set by `request_session`."""
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._connect(path)
            self._send(HELLO, _integer(VERSION))
            self._receive(HELLO)
        except BaseException:
            self._socket.close()
            raise

    def _connect(self, path: str) -> None:
        while True:
            self._socket.settimeout(self._left())
            try:
                self._socket.connect(path)
            except BlockingIOError:
                # The queue of the socket is full, because many clients connect at once.
                time.sleep(FULL_QUEUE)
            else:
                return

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the ControlMaster does not answer")
        return left

    def __enter__(self) -> MuxClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket, which makes the ControlMaster end this client's session."""
        with contextlib.suppress(OSError):
            # `shutdown` disconnects even if a forked child has a copy of the
            # descriptor; `close` alone would not.
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def forget(self) -> None:
        """Close this process's copy of the socket, without ending the connection."""
        self._socket.close()

    def pid(self, timeout: float | None = None) -> int:
        """Return the process id of the ControlMaster.

        `timeout` replaces the time limit that began when this client connected.
        """
        if timeout is not None:
            self._deadline = time.monotonic() + timeout
        self._send(ALIVE_CHECK, _integer(0))
        return _read_integers(self._receive(ALIVE), 2)[1]

    def terminate(self) -> None:
        """Make the ControlMaster exit, which ends all of its sessions."""
        self._send(TERMINATE, _integer(0))
        # ssh often exits before it has sent its reply.
        with contextlib.suppress(ConnectionError):
            self._receive(OK)

    def request_session(
        self, command: str, environment: Sequence[str], streams: Sequence[int]
    ) -> None:
        """Request a session that runs a command, without waiting for the server.

        `environment` are variables as NAME=VALUE, and `streams` are the descriptors for
        stdin, stdout and stderr of the command.
        """
        # Receive the reply before the request: if ssh cannot send a reply because the
        # client has closed the socket, and the session is just being opened, ssh exits.
        self.master_pid = self.pid()
        no_terminal_x11_agent_subsystem = _integer(0) * 4
        body = _integer(0) + _string("") + no_terminal_x11_agent_subsystem
        body += _integer(NO_ESCAPE) + _string("") + _string(command)
        self._send(NEW_SESSION, body + b"".join(map(_string, environment)))
        for stream in streams:
            socket.send_fds(self._socket, [b"\0"], [stream])

    def wait_for_session(self, timeout: float) -> None:
        """Wait until the server has opened the session that was requested.

        After a TimeoutError, the method may be called again.  Raises Refused if the
        server or the ControlMaster does not permit the session.
        """
        self._deadline = time.monotonic() + timeout
        self._receive(SESSION_OPENED)

    def exit_status(self, timeout: float) -> int | None:
        """Return the exit status of the program.

        Returns None if the ControlMaster closed the socket without an exit status, for
        example because a signal ended the program or the connection was lost.  Raises
        TimeoutError if the program has not ended within `timeout` seconds.
        """
        self._deadline = time.monotonic() + timeout
        try:
            while True:
                kind, body = self._message()
                if kind == EXIT_MESSAGE:
                    return _read_integers(body, 2)[1]
        except ConnectionResetError:
            return None

    def forward(self, listen: Address, target: Address, *, close: bool = False) -> None:
        """Forward the port `listen` of the server to `target`.

        If `close` is true, stop the forwarding instead.
        """
        body = _integer(0) + _integer(REMOTE)
        for host, port in (listen, target):
            body += _string(host) + _integer(port)
        self._send(CLOSE_FORWARD if close else OPEN_FORWARD, body)
        self._receive(OK, REMOTE_PORT)

    def _send(self, kind: int, body: bytes) -> None:
        message = _integer(kind) + body
        self._socket.sendall(_integer(len(message)) + message)

    def _receive(self, *wanted: int) -> bytes:
        while True:
            kind, body = self._message()
            if kind in (FAILURE, PERMISSION_DENIED):
                reason = body[8:] if len(body) > 8 else b"no reason given"
                raise Refused(reason.decode("utf-8", "replace"))
            if kind in wanted:
                return body

    def _message(self) -> tuple[int, bytes]:
        (size,) = _read_integers(self._bytes(4), 1)
        if not 4 <= size <= MAX_MESSAGE:
            raise ConnectionResetError("the socket does not belong to a ControlMaster")
        message = self._bytes(4 + size)[4:]
        self._unread = self._unread[4 + size :]
        return _read_integers(message, 1)[0], message[4:]

    def _bytes(self, size: int) -> bytes:
        """Return the next `size` bytes, but do not remove them from the buffer.

        If a timeout interrupts the reading of a message, the next call can therefore
        read the message from its beginning.
        """
        while len(self._unread) < size:
            self._socket.settimeout(self._left())
            data = self._socket.recv(4096)
            if not data:
                raise ConnectionResetError("the ControlMaster closed its socket")
            self._unread += data
        return self._unread[:size]


def make_pipes() -> tuple[list[int], list[int]]:
    """Create pipes for stdin, stdout and stderr.

    Returns the three ends for this process, and the three ends for the program.
    """
    ours: list[int] = []
    theirs: list[int] = []
    try:
        for writes in (True, False, False):
            read, write = os.pipe()
            ours.append(write if writes else read)
            theirs.append(read if writes else write)
    except OSError:
        for descriptor in (*ours, *theirs):
            os.close(descriptor)
        raise
    return ours, theirs


def _integer(number: int) -> bytes:
    return struct.pack(">I", number)


def _string(text: str) -> bytes:
    data = text.encode("utf-8", "surrogateescape")
    return _integer(len(data)) + data


def _read_integers(data: bytes, count: int) -> tuple[int, ...]:
    if len(data) < 4 * count:
        raise ConnectionResetError("the ControlMaster sent a truncated message")
    return struct.unpack(f">{count}I", data[: 4 * count])
