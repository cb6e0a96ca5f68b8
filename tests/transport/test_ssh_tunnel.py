"""Ports of the server that lead here."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
from jobs import wait_until
from servers.sshd import Sshd, free_port

from tej.errors import ConnectionFailed
from tej.transport import Transport


def test_a_port_of_the_server_leads_here(
    connect: Callable[..., Transport], sshd: Sshd
) -> None:
    ssh, other = connect(sshd.destination), connect(sshd.destination)
    with socket.create_server(("127.0.0.1", 0)) as here:
        port = free_port()
        for _ in range(2):
            # Said again, it is the same tunnel.
            ssh.tunnel(("localhost", port), here.getsockname())
        with socket.create_connection(("127.0.0.1", port), 10) as there:
            accepted, _ = here.accept()
            with accepted:
                there.sendall(b"ping")
                assert accepted.recv(4) == b"ping"
                accepted.sendall(b"pong" * 50_000)
                accepted.shutdown(socket.SHUT_WR)
                data = b""
                while piece := there.recv(1 << 16):
                    data += piece
                assert data == b"pong" * 50_000
        with pytest.raises(ConnectionFailed, match="the port is taken"):
            other.tunnel(("localhost", port), here.getsockname())
        assert other.run("echo still there").stdout == b"still there\n"
        ssh.close()

        def is_ours_now() -> bool:
            # The server lets go of the port some time after the connection has ended.
            try:
                other.tunnel(("localhost", port), here.getsockname())
            except ConnectionFailed:
                return False
            return True

        wait_until(is_ours_now)
