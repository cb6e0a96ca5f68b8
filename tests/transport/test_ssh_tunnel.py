"""Tunnels: ports on the server that are forwarded to this machine."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from jobs import wait_until
from servers.proxy import Proxy
from servers.sshd import Sshd, free_port

from tej.errors import ConnectionFailed
from tej.transport import Transport

pytestmark = pytest.mark.usefixtures("each_ssh")


def test_server_port_is_forwarded_here(
    connect: Callable[..., Transport], sshd: Sshd, tmp_path: Path
) -> None:
    ssh = connect(sshd.destination)
    # Other options make sure that another ControlMaster is used.
    (tmp_path / "other").mkdir()
    config_file = sshd.config(tmp_path / "other", "ServerAliveCountMax 7")
    other = connect(sshd.destination, config_file=config_file)
    with socket.create_server(("127.0.0.1", 0)) as here:
        port = free_port()
        for _ in range(2):
            # A repeated request returns the same tunnel.
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
            # The server releases the port some time after the end of the connection.
            try:
                other.tunnel(("localhost", port), here.getsockname())
            except ConnectionFailed:
                return False
            return True

        wait_until(is_ours_now)


def test_two_tunnels_lead_to_their_own_targets(
    connect: Callable[..., Transport], sshd: Sshd
) -> None:
    ssh = connect(sshd.destination)
    with (
        socket.create_server(("127.0.0.1", 0)) as first,
        socket.create_server(("127.0.0.1", 0)) as second,
    ):
        ports = [free_port(), free_port()]
        for port, target in zip(ports, (first, second), strict=True):
            ssh.tunnel(("localhost", port), target.getsockname())
        for port, target in zip(ports, (first, second), strict=True):
            target.settimeout(10)
            with socket.create_connection(("127.0.0.1", port), 10) as there:
                accepted, _ = target.accept()
                with accepted:
                    there.sendall(b"ping")
                    assert accepted.recv(4) == b"ping"


def test_tunnel_reopens_after_a_cut(
    through: Callable[..., Transport], proxy: Proxy
) -> None:
    ssh = through()
    with socket.create_server(("127.0.0.1", 0)) as here:
        here.settimeout(0.5)
        port = free_port()
        ssh.tunnel(("localhost", port), here.getsockname())
        proxy.cut()

        def leads_here() -> bool:
            # The server keeps the port for some time after the cut.
            with contextlib.suppress(ConnectionFailed):
                ssh.run("true")
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", port), 10) as there,
            ):
                accepted, _ = here.accept()
                with accepted:
                    there.sendall(b"ping")
                    return accepted.recv(4) == b"ping"
            return False

        wait_until(leads_here, "the tunnel is open again")
        assert proxy.connections >= 2
