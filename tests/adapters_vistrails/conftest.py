"""Fixtures for the VisTrails modules: queues, pipelines, and a real VisTrails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from servers.proxy import Proxy
from servers.sshd import Sshd

import tej
from tests.adapters_vistrails.environment import CannotMake, find_or_make
from tests.cli.conftest import queue_path  # noqa: F401

CHECKOUT = Path(tej.__file__).parents[1]
DRIVER = Path(__file__).with_name("in_vistrails.py")
Document = dict[str, Any]


@pytest.fixture(autouse=True)
def home(client_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the client's home, whose ssh_config has the host "server"."""
    for name in ("TEJ_COMMAND", "TEJ_DESTINATION", "TEJ_QUEUE", "TEJ_RUNTIME"):
        monkeypatch.delenv(name, raising=False)
    return client_home


@pytest.fixture
def library(queue_path: Path) -> tej.RemoteQueue:  # noqa: F811
    """Return the queue of the test, as a `RemoteQueue` on its server."""
    return tej.RemoteQueue("local:", queue_path, "default")


class Places:
    """Builds the inputs of a Queue module."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, hostname: str = "local:", **more: object) -> Document:
        return {
            "hostname": hostname,
            "queue": str(self.path),
            "setup_runtime": "default",
            **more,
        }


@pytest.fixture
def place(queue_path: Path) -> Places:  # noqa: F811
    """Return a function that builds the inputs of a Queue, on `local:` by default."""
    return Places(queue_path)


@pytest.fixture
def shell(place: Places) -> Callable[..., Document]:
    """Return a function that builds a document with one SubmitShellJob:

    `shell(script)`.
    """

    def make(
        script: str, queue: Mapping[str, object] = {}, **inputs: object
    ) -> Document:
        return {
            "modules": {
                "queue": {"type": "tej:Queue", "inputs": place(**queue)},
                "job": {
                    "type": "tej:SubmitShellJob",
                    "inputs": {"source": script, **inputs},
                },
            },
            "connections": [["queue.queue", "job.queue"]],
        }

    return make


@pytest.fixture
def flaky(sshd: Sshd, home: Path) -> Iterator[Proxy]:
    """Yield a proxy to the shared sshd, named "flaky", whose connections can be cut."""
    with Proxy(sshd.address, sshd.port) as proxy:
        known = home / ".ssh/known_flaky"
        known.write_text(sshd.known_as("127.0.0.1", proxy.port))
        config = home / ".ssh/config"
        config.write_text(
            f"Host flaky\n    HostName 127.0.0.1\n    Port {proxy.port}\n"
            f'    User {sshd.user}\n    UserKnownHostsFile "{known}"\n{config.read_text()}'
        )
        yield proxy


class VisTrails:
    """A real VisTrails with a new process for each request; see `in_vistrails.py`."""

    def __init__(self, python: Path, home: Path, folder: Path) -> None:
        self.python = python
        self.home = home
        self.folder = folder
        self.words = ""
        """Output of VisTrails and the modules during the last request."""
        self.environment = {
            **{k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
            "HOME": str(home),
            "PYTHONIOENCODING": "utf-8",
        }

    def install(self) -> None:
        """Install the package in the same way as a user."""
        subprocess.run(
            [sys.executable, "-m", "tej_vistrails", "install"],
            env={**self.environment, "PYTHONPATH": os.pathsep.join(sys.path)},
            check=True,
            capture_output=True,
        )
        # The command needs this path if tej is not installed but only in pytest's path.
        self.environment["PYTHONPATH"] = str(CHECKOUT)

    def start(self, request: Document) -> subprocess.Popen[str]:
        """Start a process in its own process group, like a terminal."""
        process = subprocess.Popen(
            [self.python, "-B", DRIVER],
            env=self.environment,
            cwd=self.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps(request))
        process.stdin.close()
        process.stdin = None
        return process

    def answer(self, process: subprocess.Popen[str]) -> Document:
        """Return the reply of a process after its end."""
        stdout, stderr = process.communicate(timeout=200)
        self.words = stdout + stderr
        assert process.returncode == 0, self.words
        answer: Document = json.loads(stdout.rstrip().rpartition("\n")[2])
        return answer

    def __call__(self, do: str, **request: object) -> Document:
        return self.answer(self.start({"do": do, **request}))

    def build(self, document: Document, name: str = "workflow.vt") -> Document:
        return self.build_all({name: document})[name]

    def build_all(self, documents: Mapping[str, Document]) -> Document:
        return self("build", pipelines=documents)

    def execute(self, name: str = "workflow.vt", **options: object) -> Document:
        return self("execute", file=name, **options)


@pytest.fixture(scope="session")
def vistrails_python() -> Path:
    """Return the Python of an environment with VisTrails 2.2.4."""
    try:
        return find_or_make()
    except CannotMake as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI has to have VisTrails: {error}")
        pytest.skip(f"no VisTrails: {error}")


@pytest.fixture
def stock_vistrails(vistrails_python: Path, home: Path, tmp_path: Path) -> VisTrails:
    """Return a VisTrails with its own original package for tej."""
    folder = tmp_path / "workflows"
    folder.mkdir()
    return VisTrails(vistrails_python, home, folder)


@pytest.fixture
def vistrails(stock_vistrails: VisTrails) -> VisTrails:
    """Return a VisTrails in which this package is installed."""
    stock_vistrails.install()
    return stock_vistrails
