"""Fixtures of the fault tests: queues, clients that may die, hosts and doubles.

After each test, the fixtures kill all processes of its queues.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faults.clients import Client, Where
from faults.faulty_servers import Doubles, Host
from installer import change_scripts
from jobs import job_directory, remove_queue, wait_until, wait_until_ended
from servers.proxy import Proxy
from servers.sshd import Sshd

import tej
from tej import Retries
from tej.destination import Destination
from tej.transport import Transport, open_transport

Require = Callable[[str], None]
SOON = Retries(limit=4, first=0.01, longest=0.05)
"""The default retry policy, but without pauses."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set HOME to a new directory, for the client and the server `local:`."""
    path = tmp_path / "home"
    path.mkdir()
    monkeypatch.setenv("HOME", str(path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return path


@pytest.fixture
def queue_path(tmp_path: Path) -> Iterator[Path]:
    """Yield the path of a queue that does not exist yet; remove the queue afterwards."""
    path = tmp_path / "queue"
    with looked_after(path):
        yield path


@contextlib.contextmanager
def looked_after(path: Path) -> Iterator[None]:
    """Remove the queue at `path` after the test, with all of its processes."""
    try:
        yield
    finally:
        remove_queue(path)


@pytest.fixture
def queue(queue_path: Path) -> tej.RemoteQueue:
    """Return a queue on this machine, for faults that do not concern the connection."""
    return tej.RemoteQueue("local:", str(queue_path), "default", retries=SOON)


@pytest.fixture
def where(queue_path: Path) -> Where:
    """Return the address of the same queue, for a client in its own process."""
    return Where("local:", queue_path)


@pytest.fixture
def client(where: Where) -> Iterator[Callable[..., Client]]:
    """Return a function that starts a client:

    `client(lines)` or `client(lines, where)`.
    """
    with contextlib.ExitStack() as stack:

        def start(lines: str, there: Where = where, **environment: str) -> Client:
            return stack.enter_context(Client(there, lines, environment))

        yield start


class Victim:
    """A job with a few megabytes to upload, which records each of its starts."""

    id = "victim"

    def __init__(self, folder: Path, wait: str = "") -> None:
        self.counter = folder / "starts"
        self.counter.touch()
        self.data = bytes(range(256)) * 8192
        self.directory = job_directory(
            folder,
            f"echo started >>'{self.counter}'\n{wait}\nwc -c <data; cat last",
            {"data": self.data, "last": "the last file\n"},
            name=self.id,
        )

    @property
    def starts(self) -> int:
        """Return how often the job was started."""
        return len(self.counter.read_text().splitlines())

    def check(self, queue: tej.RemoteQueue) -> None:
        """Check that the job exists or can be submitted.

        The job has run once, with all files.
        """
        with contextlib.suppress(tej.JobAlreadyExists):
            queue.submit(self.id, self.directory)
        wait_until_ended(queue, self.id)
        status = queue.status(self.id)
        assert status.succeeded, status
        stage = Path(status.directory)
        assert (stage / "data").read_bytes() == self.data
        assert (stage / "_stdout").read_text().split("\n", 1)[1] == "the last file\n"
        assert self.starts == 1
        # The next submission removes an abandoned upload. The server's shell of a dead
        # client may still be removing its own upload.
        queue.submit("next", self.directory, "true")
        incoming = stage.parent.parent.parent / "incoming"
        wait_until(lambda: not list(incoming.iterdir()), "no upload is left")


@pytest.fixture
def victim(tmp_path: Path) -> Victim:
    """Return the job that the faults of the test affect."""
    return Victim(tmp_path)


@pytest.fixture
def doubles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Doubles:
    """Return doubles of the server's programs, on `local:`."""
    made = Doubles(tmp_path / "doubles")
    monkeypatch.setenv("PATH", made.path)
    return made


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Return server scripts with shorter times, such as a heartbeat of one second."""
    interval = ("heartbeat_interval=20 ", "heartbeat_interval=1 ")
    timeout = ("heartbeat_timeout=900 ", "heartbeat_timeout=6 ")
    change_scripts(monkeypatch, "lib/heartbeat.sh", interval, timeout)
    keep_alive = ("sleep_until_signal 15", "sleep_until_signal 1")
    change_scripts(monkeypatch, "lib/keepalive.sh", keep_alive)
    # A change of the clock has an effect after one second instead of 30.
    reread = ('"$elapsed" -ge 3000', '"$elapsed" -ge 100')
    change_scripts(monkeypatch, "lib/facts.sh", reread)


@pytest.fixture
def host(require: Require) -> Iterator[Callable[[str], Host]]:
    """Return a function that starts another host with the same disks:

    `host("login2")`.
    """
    for part in ("root", "unshare", "nsenter"):
        require(part)
    with contextlib.ExitStack() as stack:

        def start(name: str) -> Host:
            started = Host(name)
            stack.callback(started.crash)
            return started

        yield start


@pytest.fixture
def proxy(sshd: Sshd) -> Iterator[Proxy]:
    """Yield a proxy between the client and the shared sshd."""
    with Proxy(sshd.address, sshd.port) as running:
        with sshd.known_hosts.open("a") as known_hosts:
            known_hosts.write(sshd.known_as(sshd.address, running.port))
        yield running


@pytest.fixture
def through(
    sshd: Sshd, proxy: Proxy, ssh_config: Path, queue_path: Path
) -> Iterator[Callable[..., tej.RemoteQueue]]:
    """Return a function that opens a queue behind `proxy`, with transport options."""
    opened: list[Transport] = []

    def open_(retries: Retries = SOON, **options: object) -> tej.RemoteQueue:
        destination = f"{sshd.user}@{sshd.address}:{proxy.port}"
        transport = open_transport(
            Destination.parse(destination),
            config_file=ssh_config,
            **options,  # type: ignore[arg-type]
        )
        opened.append(transport)
        return tej.RemoteQueue(
            destination,
            str(queue_path),
            "default",
            transport=transport,
            retries=retries,
        )

    yield open_
    for transport in opened:
        transport.close()
