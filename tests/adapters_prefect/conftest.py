"""Fixtures of the Prefect adapter: a Prefect server, and destinations on a real sshd.

The server has its own database, and is started once for all tests.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from servers.sshd import Sshd

# Must be set before the import of Prefect, which would otherwise send usage statistics.
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"

import tej

if find_spec("prefect") is None and not os.environ.get("CI"):
    # Without Prefect, the tests are skipped on a developer's machine, and fail on CI.
    collect_ignore_glob = ["test_*.py"]

from tests.queue.conftest import watched

if TYPE_CHECKING:
    from tej_prefect import TejDestination


# pytest-xdist reads the groups in the same hook.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run all tests of Prefect in one worker, without failures by Prefect's warnings."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("Prefect's server"))
            item.add_marker(pytest.mark.filterwarnings("default"))
            # Prefect's server and each process with Prefect start slowly on a busy
            # machine.
            item.add_marker(pytest.mark.timeout(1800))


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the URL of a real Prefect server, which all tests share."""
    home = tmp_path_factory.mktemp("prefect home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(home))
        # Leases as files below PREFECT_HOME, which tests can read.
        patch.setenv(
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE",
            "prefect.server.concurrency.lease_storage.filesystem",
        )
        # No test reads logs from the server.
        patch.setenv("PREFECT_LOGGING_TO_API_ENABLED", "false")
        from prefect.settings import PREFECT_API_URL
        from prefect.testing.utilities import prefect_test_harness

        with prefect_test_harness(server_startup_timeout=240):
            yield str(PREFECT_API_URL.value())
            # A later heartbeat of a claim would start another server, and leave the
            # server running.
            from tej_prefect.claims import claims

            claims._reset()


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the test in its own directory, where results go by default."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def short_periods(monkeypatch: pytest.MonkeyPatch) -> None:
    """Poll more often than users do, because most tests wait for a poll."""
    monkeypatch.setattr("tej_prefect.cancellation_poller.POLL_PERIOD", 0.2)
    monkeypatch.setattr("tej_prefect.output_log.OUTPUT_PERIOD", 0.2)


@pytest.fixture(autouse=True)
def no_later_claim() -> Iterator[None]:
    """Forget the claims of the test: their threads would send requests in later tests."""
    yield
    # Prefect may be missing when this file is imported.
    from tej_prefect.claims import claims

    claims._reset()


@pytest.fixture
def queue_path(tmp_path: Path) -> Iterator[Path]:
    """Yield the path of the queue; check that no process is left afterwards."""
    path = tmp_path / "queue"
    with watched(path):
        yield path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set HOME to an empty directory, and use no ssh-agent."""
    folder = tmp_path / "client home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return folder


def destination_on(sshd: Sshd, queue_path: Path) -> TejDestination:
    """Return a queue on an sshd that is reached with a key given as text."""
    # Prefect may be missing when this file is imported.
    from tej_prefect import TejDestination

    return TejDestination(
        host=sshd.address,
        user=sshd.user,
        port=sshd.port,
        private_key=sshd.key.read_text(),
        known_hosts=sshd.known_hosts.read_text(),
        queue=str(queue_path),
        runtime="default",
    )


@pytest.fixture
def destination(sshd: Sshd, queue_path: Path, home: Path) -> object:
    """Return a queue on the shared sshd."""
    return destination_on(sshd, queue_path)


@pytest.fixture
def local(queue_path: Path) -> object:
    """Return a queue on this machine, for tests that do not depend on the connection."""
    from tej_prefect import TejDestination

    return TejDestination(
        destination="local:", queue=str(queue_path), runtime="default"
    )


@pytest.fixture
def queue(queue_path: Path) -> tej.RemoteQueue:
    """Return the same queue as a `RemoteQueue`, without the adapter."""
    return tej.RemoteQueue("local:", str(queue_path), "default")


@pytest.fixture
def unique() -> str:
    """Return a name that no other test uses."""
    return f"test-{uuid4().hex[:10]}"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Return the directory for results."""
    return tmp_path / "results"
