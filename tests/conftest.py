"""What all tests share: a real server, and what is done when a part is missing."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from servers.sshd import Sshd, sshd_path
from servers.users import Users

from tej.transport.openssh_master import stop_master

Require = Callable[[str], None]

# Parts that are not simply a program of that name.
PARTS: dict[str, Callable[[], bool]] = {
    "root": lambda: hasattr(os, "getuid") and os.getuid() == 0,
    "fork": lambda: hasattr(os, "fork"),
    "sshd": lambda: sshd_path() is not None,
}


@pytest.fixture(scope="session")
def require() -> Require:
    """`require("zsh")`: without it the test is skipped on a laptop, and fails on CI."""

    def check(part: str) -> None:
        there = PARTS.get(part, lambda: shutil.which(part) is not None)
        if there():
            return
        if os.environ.get("CI"):
            pytest.fail(f"CI has to have {part}")
        pytest.skip(f"{part} is missing")

    return check


@pytest.fixture(scope="session", autouse=True)
def no_slurm() -> Iterator[None]:
    """Only the tests of schedulers see the Slurm that may be up meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        # Empty: its commands fail at once, and do not look for a controller.
        patch.setenv("SLURM_CONF", os.devnull)
        yield


@pytest.fixture(scope="session", autouse=True)
def ssh_masters() -> Iterator[Path]:
    """Where tej keeps ssh's ControlMasters in the tests; they end with the tests.

    Tests use paramiko unless they ask for another transport, which keeps them fast.
    """
    # A socket's path may have about 100 characters, and pytest's own are longer.
    folder = Path(tempfile.mkdtemp(prefix="tej-", dir="/tmp"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        patch.setenv("TEJ_TRANSPORT", "paramiko")
        yield folder
        for path in folder.glob("tej-*/*"):
            if path.is_socket():
                stop_master(path)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def sshd(require: Require, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """A server for all tests that do it no harm; $HOME there is `sshd.home`."""
    require("sshd")
    folder = tmp_path_factory.mktemp("sshd")
    home = tmp_path_factory.mktemp("home")
    with Sshd(folder, home=home) as server:
        yield server


@pytest.fixture
def start_sshd(require: Require, tmp_path: Path) -> Iterator[Callable[..., Sshd]]:
    """Makes a server of one's own, which is free to be cut, stopped or odd.

    Takes the options of `Sshd`; each call makes one more.
    """
    require("sshd")
    started: list[Sshd] = []

    def start(**options: object) -> Sshd:
        options.setdefault("folder", tmp_path / f"sshd{len(started)}")
        server = Sshd(**options)  # type: ignore[arg-type]
        started.append(server.__enter__())
        return server

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def users(require: Require) -> Iterator[Users]:
    """Adds users to this machine, and takes them away again.  Needs root."""
    require("root")
    require("useradd")
    with Users() as added:
        yield added


@pytest.fixture
def ssh_config(sshd: Sshd, tmp_path: Path) -> Path:
    """An ssh_config file with which `sshd.destination` can be reached."""
    return sshd.config(tmp_path)


@pytest.fixture
def client_home(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home for the client, whose ~/.ssh/config knows `sshd`; no agent."""
    home = tmp_path / "client home"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    (home / ".ssh/config").write_text(
        f"Host server\n    HostName {sshd.address}\n    Port {sshd.port}\n"
        f"    User {sshd.user}\n{sshd.client_options}"
    )
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return home
