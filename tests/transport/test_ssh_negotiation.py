"""Logins that depend on the server's offers: key exchanges and empty prompts."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from tej.destination import Destination
from tej.transport.paramiko.connect import connect
from tej.transport.settings import Settings


class Offers(paramiko.ServerInterface):
    """A server that accepts one password, and sends an empty prompt first.

    sshd cannot be configured to send an empty keyboard-interactive prompt.
    """

    def __init__(self) -> None:
        self.tried: list[str] = []

    def get_allowed_auths(self, username: str) -> str:
        return "keyboard-interactive,password"

    def check_auth_interactive(
        self, username: str, submethods: str
    ) -> paramiko.InteractiveQuery:
        self.tried.append("keyboard-interactive")
        return paramiko.InteractiveQuery()

    def check_auth_interactive_response(self, responses: list[str]) -> int:
        return paramiko.AUTH_FAILED

    def check_auth_password(self, username: str, password: str) -> int:
        self.tried.append(password)
        right = password == "right"
        return paramiko.AUTH_SUCCESSFUL if right else paramiko.AUTH_FAILED


class StandardKex(paramiko.Transport):
    """Offers the key exchange curve25519 under its standard name only."""

    _kex_info = {  # noqa: RUF012
        "curve25519-sha256": paramiko.Transport._kex_info[
            "curve25519-sha256@libssh.org"
        ]
    }
    _preferred_kex = ("curve25519-sha256",)


@pytest.fixture
def server() -> Iterator[tuple[int, Offers]]:
    """Yield the port of a server for one connection, and the list of login attempts."""
    offers = Offers()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            accepted, _ = listener.accept()
            transport = StandardKex(accepted)
            transports.append(transport)
            transport.add_server_key(paramiko.ECDSAKey.generate())
            transport.start_server(server=offers)

        transports: list[paramiko.Transport] = []
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1], offers
        thread.join(30)
    for transport in transports:
        transport.close()


def test_empty_prompt_falls_through_to_the_password(
    server: tuple[int, Offers], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    port, offers = server
    prompts: list[str] = []

    def ask(prompt: str) -> str:
        prompts.append(prompt)
        return "right" if len(prompts) == 2 else "wrong"

    config_file = tmp_path / "config"
    config_file.write_text(
        f"UserKnownHostsFile {tmp_path}/known_hosts\nGlobalKnownHostsFile none\n"
        f"IdentityFile none\n"
    )
    settings = Settings(ask=ask, accept_new_host_key=True, config_file=config_file)
    # The server offers only one key exchange, so the login also shows that tej knows
    # curve25519 by its standard name.
    connection = connect(Destination("127.0.0.1", "me", port=port), settings)
    connection.close()
    assert offers.tried == ["keyboard-interactive", "wrong", "right"]
    assert prompts == [f"Password for me@127.0.0.1:{port}: "] * 2


def test_interrupted_connection_attempt_is_not_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host has several addresses, and Ctrl-C is pressed during the first attempt."""
    made: list[socket.socket] = []

    class Interrupted(socket.socket):
        def connect(self, address: object) -> None:
            made.append(self)
            raise KeyboardInterrupt

    monkeypatch.setattr(socket, "socket", Interrupted)
    address = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 9))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [address, address])
    config_file = tmp_path / "config"
    config_file.write_text("GlobalKnownHostsFile none\n")
    settings = Settings(config_file=config_file)
    with pytest.raises(KeyboardInterrupt):
        connect(Destination("127.0.0.1", "me"), settings)
    assert [sock.fileno() for sock in made] == [-1]
