"""Fixtures for transports: a transport over SSH, and a parametrized fixture of all
transports."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jobs import wait_until
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
    """Return a function that opens a transport, which is closed after the test."""
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
    """Run a test with both transports that use SSH; return the transport's name."""
    monkeypatch.setenv("TEJ_TRANSPORT", request.param)
    return str(request.param)


@pytest.fixture(params=["paramiko", "openssh", "local"])
def transport(
    request: pytest.FixtureRequest, connect: Connect, sshd: Sshd
) -> Transport:
    """Return each transport, because all transports behave the same."""
    if request.param == "local":
        return connect("local:")
    return connect(sshd.destination, transport=request.param)


@pytest.fixture
def proxy(sshd: Sshd) -> Iterator[Proxy]:
    """Yield a proxy between the client and the shared sshd."""
    with Proxy(sshd.address, sshd.port) as running:
        yield running


@pytest.fixture
def through(connect: Connect, sshd: Sshd, proxy: Proxy) -> Connect:
    """Return a function that opens a transport through `proxy`, with a known host key."""

    def open_(**options: object) -> Transport:
        with sshd.known_hosts.open("a") as known_hosts:
            known_hosts.write(sshd.known_as(sshd.address, proxy.port))
        return connect(f"{sshd.user}@{sshd.address}:{proxy.port}", **options)

    return open_


@pytest.fixture
def no_thread_left() -> Iterator[Callable[[], list[str]]]:
    """Return a function that lists the threads of tej that the test has started."""
    before = set(threading.enumerate())

    def left() -> list[str]:
        now = set(threading.enumerate()) - before
        return [thread.name for thread in now if thread.name.startswith("tej")]

    yield left
    # A thread of an earlier test may just have sent a request.
    wait_until(lambda: left() == [], "no thread of tej is left")
