"""Fixtures of the tests of a queue: a queue on each kind of server, and jobs.

The jobs of each test are killed afterwards, and the test fails if a process is left.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from jobs import Gate, remove_queue, wait_until_ended, wait_until_started
from servers.sshd import Sshd

import tej
from tej.destination import Destination
from tej.transport import Transport, open_transport

SubmitJob = Callable[..., str]


@dataclass(frozen=True)
class Server:
    """A server with its transport and the directory for queues."""

    destination: str
    transport: Transport
    home: Path
    """$HOME of the programs on the server."""

    def queue(self, path: str | Path, **options: object) -> tej.RemoteQueue:
        """Return a queue on this server, over the connection that all tests share."""
        options.setdefault("transport", self.transport)
        # The tests must not depend on a scheduler of this machine.
        options.setdefault("setup_runtime", "default")
        return tej.RemoteQueue(self.destination, str(path), **options)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def ssh_transport(
    sshd: Sshd, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Transport]:
    """Yield one connection to the shared sshd."""
    config = sshd.config(tmp_path_factory.mktemp("ssh"))
    with open_transport(
        Destination.parse(sshd.destination), config_file=config
    ) as transport:
        yield transport


@pytest.fixture
def local_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Return this machine as a server, with a separate home directory."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    return Server("local:", open_transport(Destination.parse("local:")), home)


@pytest.fixture(params=["local", "ssh"])
def server(request: pytest.FixtureRequest) -> Server:
    """Return each kind of server, because queues behave the same on both."""
    if request.param == "local":
        local: Server = request.getfixturevalue("local_server")
        return local
    sshd: Sshd = request.getfixturevalue("sshd")
    transport: Transport = request.getfixturevalue("ssh_transport")
    assert sshd.home is not None
    return Server(sshd.destination, transport, sshd.home)


@pytest.fixture
def queue_path(tmp_path: Path) -> Path:
    """Return the path of a queue that does not exist yet."""
    return tmp_path / "queue"


@pytest.fixture
def queue(server: Server, queue_path: Path) -> Iterator[tej.RemoteQueue]:
    """Return a queue on each kind of server, which the first request creates."""
    with watched(queue_path):
        yield server.queue(queue_path)


@pytest.fixture
def local_queue(local_server: Server, queue_path: Path) -> Iterator[tej.RemoteQueue]:
    """Return a queue on this machine, for tests that do not depend on the connection."""
    with watched(queue_path):
        yield local_server.queue(queue_path)


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Callable[[Path], Path]]:
    """Return a function that also empties the queue at another path after the test."""
    with contextlib.ExitStack() as stack:

        def watch_(path: Path) -> Path:
            stack.enter_context(watched(path))
            return path

        yield watch_


@contextlib.contextmanager
def watched(path: Path) -> Iterator[None]:
    """Remove the queue at `path` after the test, with all of its processes."""
    try:
        yield
    finally:
        remove_queue(path)


@pytest.fixture
def waiting(
    queue: tej.RemoteQueue, queue_path: Path, job: Callable[..., Path], gate: Gate
) -> str:
    """Return the id of a running job that waits at the gate and then exits with 3."""
    job_id = queue.submit("waiting", job(f"echo begun; {gate.wait}; exit 3"))
    wait_until_started(queue_path, job_id)
    return job_id


@pytest.fixture
def ended(queue: tej.RemoteQueue, job: Callable[..., Path]) -> str:
    """Return the id of a job that has finished with exit code 0."""
    job_id = queue.submit("ended", job("echo out; echo err >&2", name="ended job"))
    wait_until_ended(queue, job_id)
    return job_id
