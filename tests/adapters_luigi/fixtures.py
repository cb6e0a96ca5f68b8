"""Fixtures for Luigi: its configuration, a queue, and the `luigi` command."""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import luigi
import luigi.configuration
import pytest
from jobs import Gate
from luigi.task_register import Register
from servers.proxy import Proxy
from servers.sshd import Sshd

import tej
from tej_luigi.config import QueueAddress
from tej_luigi.status_cache import close_queues, open_queue
from tests.adapters_luigi.run_tasks import Configure
from tests.queue.conftest import watched

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def own_luigi(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Give each test its own configuration, task classes and connections."""
    parser = luigi.configuration.LuigiConfigParser
    monkeypatch.setattr(parser, "_instance", None)
    monkeypatch.setattr(parser, "_config_paths", [])
    for name in ("TEJ_DESTINATION", "TEJ_QUEUE", "TEJ_RUNTIME"):
        monkeypatch.delenv(name, raising=False)
    address = tmp_path / "pipeline"
    address.mkdir()
    monkeypatch.chdir(address)
    stashed = Register._get_reg()
    Register.clear_instance_cache()
    try:
        yield
    finally:
        close_queues()
        Register._set_reg(stashed)
        Register.clear_instance_cache()


@pytest.fixture
def configure(own_luigi: None) -> Configure:
    """Return a function that sets options as luigi.cfg does:

    `configure(tej=dict(poll="1"))`.
    """

    def set_(**sections: dict[str, str]) -> None:
        config = luigi.configuration.get_config()
        for section, values in sections.items():
            for key, value in values.items():
                config.set(section, key, value)

    return set_


@pytest.fixture
def queue_path(tmp_path: Path) -> Iterator[Path]:
    """Yield the path of a queue that does not exist yet; remove the queue afterwards."""
    path = tmp_path / "queue"
    with watched(path):
        yield path


@pytest.fixture
def address(
    request: pytest.FixtureRequest,
    queue_path: Path,
    tmp_path: Path,
    configure: Configure,
    monkeypatch: pytest.MonkeyPatch,
) -> QueueAddress:
    """Yield the address of the queue for all tasks: `local:`, or sshd (`OVER_SSH`)."""
    destination = getattr(request, "param", "local:")
    if destination == "server":
        request.getfixturevalue("client_home")
    else:
        home = tmp_path / "home"
        home.mkdir()
        monkeypatch.setenv("HOME", str(home))
    found = QueueAddress(destination, str(queue_path), "default")
    configure(
        tej={
            "destination": found.destination,
            "queue": found.queue,
            "runtime": "default",
            "poll": "0.3",
            # No cached status expires, even on a busy machine.
            "fresh": "600",
        }
    )
    return found


@pytest.fixture
def queue(address: QueueAddress) -> tej.RemoteQueue:
    """Return the queue that the tasks of this process use."""
    return open_queue(address).queue


@pytest.fixture
def far(sshd: Sshd, client_home: Path) -> Iterator[Proxy]:
    """Yield a proxy in front of the shared sshd; ssh_config names this server "far"."""
    with Proxy(sshd.address, sshd.port) as proxy:
        with sshd.known_hosts.open("a") as known_hosts:
            known_hosts.write(sshd.known_as(sshd.address, proxy.port))
        config = client_home / ".ssh/config"
        config.write_text(
            f"Host far\n    HostName {sshd.address}\n    Port {proxy.port}\n"
            f"    User {sshd.user}\n{sshd.client_options}"
        )
        yield proxy


@pytest.fixture
def starts(tmp_path: Path) -> Path:
    """Return the file to which each job adds a line when it starts."""
    path = tmp_path / "starts"
    path.touch()
    return path


def write_config(path: Path, sections: dict[str, dict[str, str]]) -> None:
    """Write a file such as luigi.cfg."""
    parser = configparser.RawConfigParser()
    parser.read_dict(sections)
    with path.open("w") as file:
        parser.write(file)


@pytest.fixture
def pipeline(
    address: QueueAddress, tmp_path: Path, starts: Path, gate: Gate
) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Runs the tasks in a module as the command `luigi` does.

    `pipeline(lines, "Task", "--n", "1", worker={...})` writes pipeline.py and luigi.cfg
    in `folder`, and starts it there; the module can use `START` and `GATE`.
    """
    here = Path.cwd()
    started: list[subprocess.Popen[str]] = []

    def run(
        lines: str,
        *words: str,
        folder: Path = here,
        **sections: dict[str, str],
    ) -> subprocess.Popen[str]:
        folder.mkdir(exist_ok=True)
        (folder / "pipeline.py").write_text(
            f"import luigi\nimport tej_luigi\n"
            f"STARTS = '{starts}'\nSTART = 'echo $TEJ_JOB_ID >>{starts}'\nGATE = {gate.wait!r}\n{lines}"
        )
        defaults = {
            "tej": {
                "destination": address.destination,
                "queue": address.queue,
                "runtime": "default",
                "poll": "0.3",
            },
            "worker": {"wait_interval": "0.1", "wait_jitter": "0"},
        }
        write_config(folder / "luigi.cfg", {**defaults, **sections})
        command = [sys.executable, "-W", "ignore", "-m", "luigi"]
        process = subprocess.Popen(
            # Another test may define a task class with the same name, which Luigi would
            # refuse.
            [*command, "--no-lock", "--module", "pipeline", *words],
            cwd=folder,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(
                    [str(folder), str(ROOT), str(ROOT / "integrations/luigi")]
                ),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
