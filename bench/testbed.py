"""Test bed of the benchmarks: sshd on loopback, a delayed line, and the peers.

The clients have a home directory of their own, and each peer has a virtual environment.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from servers.proxy import Proxy  # noqa: E402
from servers.sshd import Sshd  # noqa: E402

import tej  # noqa: E402

PEERS = {
    "tej06": ["setuptools<80", "tej==0.6"],
    "dpdispatcher": ["dpdispatcher==1.1.0"],
}
PYTHON_OF_PEERS = "python3.11"
"""The newest Python on which tej 0.6 runs."""

LATENCY = 0.05
"""Round-trip time, in seconds, of the delayed connection."""
Row = tuple[str, str, str, str]
"""A row of the table: measurement, tej, the peer, the ratio (and the aim)."""
TEJ = [sys.executable, "-m", "tej"]


def write_job(folder: Path, script: str, files: int = 0, size: int = 0) -> Path:
    """Create a job directory with a number of files of a given size."""
    folder.mkdir(parents=True)
    (folder / "start.sh").write_text(f"#!/bin/sh\n{script}\n")
    for number in range(files):
        with (folder / f"file{number}").open("wb") as file:
            for start in range(0, size, 1 << 20):
                file.write(os.urandom(min(1 << 20, size - start)))
    return folder


class TestBed:
    """The servers, queues and peers of a benchmark; `close` removes them."""

    def __init__(self, latency: float) -> None:
        self._stack = ExitStack()
        self.folder = Path(self._stack.enter_context(_folder()))
        home = self.folder / "server home"
        home.mkdir()
        (self.folder / "sshd").mkdir()
        # Peers transfer files by SFTP.
        sftp = ["Subsystem sftp internal-sftp"]
        self.sshd = self._stack.enter_context(
            Sshd(self.folder / "sshd", home=home, options=sftp)
        )
        self.far = self._stack.enter_context(
            Proxy(self.sshd.address, self.sshd.port, latency=latency / 2)
        )
        self.home = self._make_home()
        os.environ["HOME"] = str(self.home)
        os.environ.pop("SSH_AUTH_SOCK", None)
        # pip compiles what it installs, so the measured commands do not compile either.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

    def close(self) -> None:
        """Stop the server, and remove all created files."""
        self._stack.close()

    def _make_home(self) -> Path:
        ssh = self.folder / "home/.ssh"
        ssh.mkdir(parents=True, mode=0o700)
        for suffix in ("", ".pub"):
            shutil.copy(f"{self.sshd.key}{suffix}", ssh / f"id_ed25519{suffix}")
        ports = {"near": self.sshd.port, "far": self.far.port}
        known = [self.sshd.known_as("127.0.0.1", port) for port in ports.values()]
        (ssh / "known_hosts").write_text(
            "".join(line.rstrip() + "\n" for line in known)
        )
        (ssh / "config").write_text(
            "".join(
                f"Host {name}\n  HostName 127.0.0.1\n  Port {port}\n"
                f"  User {self.sshd.user}\n"
                for name, port in ports.items()
            )
            + f"Host *\n  UserKnownHostsFile {ssh / 'known_hosts'}\n"
            f"  IdentityFile {ssh / 'id_ed25519'}\n"
        )
        return ssh.parent

    def ssh(self, host: str, command: str) -> list[str]:
        """Return the words of an ssh command."""
        return ["ssh", "-F", str(self.home / ".ssh/config"), host, command]

    def queue(self, host: str) -> tej.RemoteQueue:
        """Return a queue that does not exist yet."""
        name = f"queue{time.monotonic_ns()}"
        return tej.RemoteQueue(host, str(self.folder / name), "default")

    def peer(self, name: str) -> Path | None:
        """Return the `bin` of a peer's environment, created at the first call.

        Returns None if the environment cannot be created.
        """
        folder = self.folder / name
        python = shutil.which(PYTHON_OF_PEERS)
        if python is None:
            return None
        if not folder.exists():
            done = subprocess.run([python, "-m", "venv", str(folder)], check=False)
            pip = [str(folder / "bin/pip"), "install", "-q", *PEERS[name]]
            if done.returncode or subprocess.run(pip, check=False).returncode:
                return None
        return folder / "bin"


@contextmanager
def _folder() -> Iterator[str]:
    folder = tempfile.mkdtemp(prefix="tej-bench-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def seconds(work: Callable[[], object]) -> float:
    """Return the duration of a call in seconds."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def best(
    work: Callable[[], object],
    times: int = 3,
    *,
    prepare: Callable[[], object] = lambda: None,
) -> float:
    """Return the shortest duration of several calls, which is the least disturbed.

    The preparation of each call is not counted.
    """
    took = []
    for _ in range(times):
        prepare()
        took.append(seconds(work))
    return min(took)


def best_of_each(
    *works: Callable[[], object],
    times: int,
    prepare: Callable[[], object] = lambda: None,
) -> list[float]:
    """Return the shortest duration of each of several functions.

    The functions are called in turns, so that other programs on the machine disturb all
    functions equally.  The preparation of each round is not counted.
    """
    rounds = []
    for _ in range(times):
        prepare()
        rounds.append([seconds(work) for work in works])
    return [min(took) for took in zip(*rounds, strict=True)]


def run(words: list[str], **how: object) -> None:
    """Run a command without output; raise an exception if the command fails."""
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, **how)  # type: ignore[call-overload]


def shell(line: str, cwd: Path | None = None) -> None:
    """Run a line of shell without output; raise an exception if it fails."""
    subprocess.run(line, shell=True, check=True, stdout=subprocess.DEVNULL, cwd=cwd)
