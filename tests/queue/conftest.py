"""What tests of the queue share: one on each kind of server, and its jobs.

After each test its jobs are killed, and it is checked that no process of theirs is left.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from jobs import Gate, remove_queue
from servers.sshd import Sshd

import tej
from tej.destination import Destination
from tej.transport import Transport, open_transport

SubmitJob = Callable[..., str]


@dataclass(frozen=True)
class Server:
    """Where a test's queues are, and how it is reached."""

    destination: str
    transport: Transport
    home: Path
    """$HOME of what runs there."""

    def queue(self, path: str | Path, **options: object) -> tej.RemoteQueue:
        """A queue there, over the connection that all tests share."""
        options.setdefault("transport", self.transport)
        # Whatever scheduler there may be on this machine.
        options.setdefault("setup_runtime", "default")
        return tej.RemoteQueue(self.destination, str(path), **options)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def ssh_transport(
    sshd: Sshd, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Transport]:
    """One connection to the shared server."""
    config = sshd.config(tmp_path_factory.mktemp("ssh"))
    with open_transport(
        Destination.parse(sshd.destination), config_file=config
    ) as transport:
        yield transport


@pytest.fixture
def local_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """This machine, with a home of its own."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    return Server("local:", open_transport(Destination.parse("local:")), home)


@pytest.fixture(params=["local", "ssh"])
def server(request: pytest.FixtureRequest) -> Server:
    """Either kind: what a queue promises is the same."""
    if request.param == "local":
        local: Server = request.getfixturevalue("local_server")
        return local
    sshd: Sshd = request.getfixturevalue("sshd")
    transport: Transport = request.getfixturevalue("ssh_transport")
    assert sshd.home is not None
    return Server(sshd.destination, transport, sshd.home)


@pytest.fixture
def queue_path(tmp_path: Path) -> Path:
    """Where the test's queue is; nothing is there yet."""
    return tmp_path / "queue"


@pytest.fixture
def queue(server: Server, queue_path: Path) -> Iterator[tej.RemoteQueue]:
    """A queue of the test's own, on either kind of server; set up by its first use."""
    with watched(queue_path):
        yield server.queue(queue_path)


@pytest.fixture
def local_queue(local_server: Server, queue_path: Path) -> Iterator[tej.RemoteQueue]:
    """The same on this machine alone, where the way there makes no difference."""
    with watched(queue_path):
        yield local_server.queue(queue_path)


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Callable[[Path], Path]]:
    """For a queue at another path: it, too, is emptied and looked after."""
    with contextlib.ExitStack() as stack:

        def watch_(path: Path) -> Path:
            stack.enter_context(watched(path))
            return path

        yield watch_


@contextlib.contextmanager
def watched(path: Path) -> Iterator[None]:
    """Afterwards the queue at `path` is gone, and nothing of it runs."""
    try:
        yield
    finally:
        remove_queue(path)


@pytest.fixture
def waiting(queue: tej.RemoteQueue, job: Callable[..., Path], gate: Gate) -> str:
    """The id of a job that runs until the gate opens, and then ends with 3."""
    return queue.submit("waiting", job(f"echo begun; {gate.wait}; exit 3"))


@pytest.fixture
def ended(queue: tej.RemoteQueue, job: Callable[..., Path]) -> str:
    """The id of a job that has ended well."""
    from jobs import wait_until

    job_id = queue.submit("ended", job("echo out; echo err >&2", name="ended job"))
    wait_until(lambda: queue.status(job_id).state.final, "the job has ended")
    return job_id
