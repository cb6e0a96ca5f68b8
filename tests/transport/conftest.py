"""Fixtures of the tests of transports: one over SSH, and all as one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from servers.proxy import Proxy
from servers.sshd import Sshd

from tej.destination import Destination
from tej.transport import Transport, open_transport

Connect = Callable[..., Transport]


@pytest.fixture(autouse=True)
def _no_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


@pytest.fixture
def connect(ssh_config: Path) -> Iterator[Connect]:
    """Opens a transport to a destination, and closes it when the test is over."""
    opened: list[Transport] = []

    def open_(destination: str, **options: object) -> Transport:
        options.setdefault("config_file", ssh_config)
        transport = open_transport(Destination.parse(destination), **options)  # type: ignore[arg-type]
        opened.append(transport)
        return transport

    yield open_
    for transport in opened:
        transport.close()


@pytest.fixture(params=["paramiko", "openssh"])
def each_ssh(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Runs a test over both transports that use SSH; returns the transport's name."""
    monkeypatch.setenv("TEJ_TRANSPORT", request.param)
    return str(request.param)


@pytest.fixture(params=["paramiko", "openssh", "local"])
def transport(
    request: pytest.FixtureRequest, connect: Connect, sshd: Sshd
) -> Transport:
    """Each transport: all of them make the same promises."""
    if request.param == "local":
        return connect("local:")
    return connect(sshd.destination, transport=request.param)


@pytest.fixture
def proxy(sshd: Sshd) -> Iterator[Proxy]:
    """A network between the client and the shared server."""
    with Proxy(sshd.address, sshd.port) as running:
        yield running


@pytest.fixture
def through(connect: Connect, sshd: Sshd, proxy: Proxy) -> Connect:
    """Opens a transport through `proxy`, which the host key is known for, too."""

    def open_(**options: object) -> Transport:
        with sshd.known_hosts.open("a") as known_hosts:
            known_hosts.write(sshd.known_as(sshd.address, proxy.port))
        return connect(f"{sshd.user}@{sshd.address}:{proxy.port}", **options)

    return open_


@pytest.fixture
def no_thread_left() -> Iterator[Callable[[], list[str]]]:
    """Tells which threads of tej's are there that were not there before."""
    before = set(threading.enumerate())

    def left() -> list[str]:
        now = set(threading.enumerate()) - before
        return [thread.name for thread in now if thread.name.startswith("tej")]

    yield left
    assert left() == []
