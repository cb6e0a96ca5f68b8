"""TCP proxy on loopback that simulates network faults: delay, cut, stall, refuse.

    with Proxy(sshd.address, sshd.port, latency=0.025) as proxy:
        ...                              # connect to 127.0.0.1:proxy.port
        proxy.cut_after(up=10_000)       # cut after 10 kB to the server

The latency delays each byte in both directions, without reducing the bandwidth.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import struct
import threading
import time
from collections.abc import Callable
from types import TracebackType

PIECE = 1 << 16
IN_FLIGHT = 1 << 10
"""Maximum number of buffered chunks per direction, at most 64 MB."""
RESET = struct.pack("ii", 1, 0)

UP, DOWN = "up", "down"


class Proxy:
    """Forwards connections to one address, and simulates faults of networks."""

    def __init__(self, address: str, port: int, *, latency: float = 0.0) -> None:
        self.latency = latency
        """Delay of each byte in seconds, in each direction."""
        self.segment: int | None = None
        """Maximum number of bytes in a packet from the server; None for no limit.

        With small packets, as in a real network, the server buffers less data."""
        self.connections = 0
        """Number of connections so far."""
        self.bytes = {UP: 0, DOWN: 0}
        """Number of bytes forwarded so far, by direction."""
        self._to = (address, port)
        self._lock = threading.Lock()
        self._flowing = threading.Event()
        self._flowing.set()
        self._limits: dict[str, int | None] = {UP: None, DOWN: None}
        self._links: set[_Link] = set()
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None
        self.port = 0

    def __enter__(self) -> Proxy:
        self.accept()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.refuse()
        self.cut()
        self.resume()
        for thread in self._threads:
            thread.join()

    def accept(self) -> None:
        """Accept connections; after `refuse`, use the same port again."""
        if self._listener is not None:
            return
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        self._run(self._serve, self._listener)

    def refuse(self) -> None:
        """Refuse new connections, and keep the open connections."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def cut(self) -> None:
        """Break all connections at once."""
        for link in list(self._links):
            link.reset()

    def cut_after(self, *, up: int | None = None, down: int | None = None) -> None:
        """Break all connections after a number of further bytes in one direction."""
        with self._lock:
            for way, more in ((UP, up), (DOWN, down)):
                self._limits[way] = None if more is None else self.bytes[way] + more

    def stall(self) -> None:
        """Forward nothing any more, and close nothing, as if a cable were unplugged."""
        self._flowing.clear()

    def freeze(self) -> None:
        """Stall only the open connections, as if a router had forgotten them."""
        for link in list(self._links):
            link.flowing = threading.Event()

    def resume(self) -> None:
        """Forward everything again, including the data that was held back."""
        for link in list(self._links):
            link.flowing.set()
            link.flowing = self._flowing
        self._flowing.set()

    def wait_for_bytes(self, way: str, number: int, timeout: float = 90) -> None:
        """Wait until a number of further bytes have passed in direction `UP` or `DOWN`."""
        wanted, deadline = self.bytes[way] + number, time.monotonic() + timeout
        while self.bytes[way] < wanted:
            if time.monotonic() > deadline:
                raise TimeoutError(f"only {self.bytes[way]} of {wanted} bytes {way}")
            time.sleep(0.005)

    def _run(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            try:
                server = self._connect()
            except OSError:
                client.close()
                continue
            for sock in (client, server):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link = _Link(client, server, self._flowing)
            self._links.add(link)
            for way, source, sink in ((UP, client, server), (DOWN, server, client)):
                line: queue.Queue[tuple[float, bytes]] = queue.Queue(IN_FLIGHT)
                self._run(self._read, source, line, link)
                self._run(self._write, way, line, sink, link)

    def _connect(self) -> socket.socket:
        if self.segment is None:
            return socket.create_connection(self._to)
        server = socket.socket()
        try:
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, self.segment)
            server.connect(self._to)
        except BaseException:
            server.close()
            raise
        return server

    def _read(
        self,
        source: socket.socket,
        line: queue.Queue[tuple[float, bytes]],
        link: _Link,
    ) -> None:
        data = b"begin"
        while data:
            link.flowing.wait()
            try:
                data = source.recv(PIECE)
            except OSError:
                data = b""
            line.put((time.monotonic() + self.latency, data))

    def _write(
        self,
        way: str,
        line: queue.Queue[tuple[float, bytes]],
        sink: socket.socket,
        link: _Link,
    ) -> None:
        broken = False
        while True:
            due, data = line.get()
            if not data:
                break
            time.sleep(max(0.0, due - time.monotonic()))
            link.flowing.wait()
            # The buffer of a broken link must still be drained, or its thread would not
            # end.
            broken = broken or not self._pass_on(way, data, sink)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
        if link.half_closed():
            self._links.discard(link)

    def _pass_on(self, way: str, data: bytes, sink: socket.socket) -> bool:
        with self._lock:
            limit = self._limits[way]
            room = len(data) if limit is None else max(0, limit - self.bytes[way])
            last = limit is not None and room <= len(data)
            self.bytes[way] += min(room, len(data))
        try:
            sink.sendall(data[:room])
        except OSError:
            return False
        if last:
            with self._lock:
                self._limits[way] = None
            self.cut()
        return not last


class _Link:
    """The two sockets of one connection."""

    def __init__(
        self, client: socket.socket, server: socket.socket, flowing: threading.Event
    ) -> None:
        self.flowing = flowing
        self._sockets = (client, server)
        self._halves = 2
        self._lock = threading.Lock()

    def reset(self) -> None:
        """Break the connection: both sides get an error, not an end of file."""
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                sock.shutdown(socket.SHUT_RDWR)

    def half_closed(self) -> bool:
        """Record that one direction has ended.

        If it is the second direction, close both sockets and return True.
        """
        with self._lock:
            self._halves -= 1
            if self._halves:
                return False
        for sock in self._sockets:
            sock.close()
        return True
