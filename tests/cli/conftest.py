"""Fixtures for the command line, which runs as a process like for a user."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from command_process import can_fork, run_command
from jobs import Gate, job_directory, remove_queue, wait_until_ended

import tej
from tej.cli import main

CHECKOUT = Path(tej.__file__).parents[1]


@dataclass(frozen=True)
class Done:
    """Result of a command that has ended."""

    status: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


class Command:
    """The `tej` command, with its own environment and current directory."""

    def __init__(self, home: Path, place: Path) -> None:
        self.place = place
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("TEJ_", "XDG_CONFIG_"))
        }
        self.environment |= {
            "HOME": str(home),
            "PYTHONPATH": str(CHECKOUT),
            "PYTHONWARNINGS": "error",
            "TERM": "xterm",
            # The tests must not depend on a scheduler of this machine.
            "TEJ_RUNTIME": "default",
        }

    def words(self, *words: object) -> list[str]:
        return [sys.executable, "-m", "tej", *map(str, words)]

    def __call__(self, *words: object, **environment: str) -> Done:
        """Run the command without a terminal."""
        if can_fork(environment):
            status, out, err = run_command(
                list(map(str, words)), self.place, self.environment | environment, 200
            )
            result = Done(status, out.decode(), err.decode())
            assert "Traceback" not in result.stderr, result.stderr
            return result
        done = subprocess.run(
            self.words(*words),
            cwd=self.place,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=200,
        )
        result = Done(done.returncode, done.stdout.decode(), done.stderr.decode())
        assert "Traceback" not in result.stderr, result.stderr
        return result

    def on_terminal(
        self, *words: object, columns: int = 80, answer: bytes = b""
    ) -> Done:
        """Run the command at a terminal and type `answer`; stdout has both outputs."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        process = subprocess.Popen(
            self.words(*words),
            cwd=self.place,
            env=self.environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        os.write(ours, answer)
        seen = b""
        # EIO means that the terminal was closed.
        with contextlib.suppress(OSError):
            while piece := os.read(ours, 65536):
                seen += piece
        os.close(ours)
        status = process.wait(200)
        text = seen.decode().replace("\r\n", "\n")
        assert "Traceback" not in text
        return Done(status, text, "")


@pytest.fixture
def client(tmp_path: Path, client_home: Path) -> Command:
    """Return the `tej` command of a user whose ssh_config has the host "server"."""
    place = tmp_path / "place"
    place.mkdir()
    return Command(client_home, place)


@pytest.fixture
def queue_path(tmp_path: Path) -> Iterator[Path]:
    """Yield the path of the queue, which is removed afterwards with its processes."""
    path = tmp_path / "queue"
    yield path
    remove_queue(path)


@pytest.fixture
def library(queue_path: Path) -> tej.RemoteQueue:
    """Return the same queue as a `RemoteQueue`."""
    return tej.RemoteQueue("local:", queue_path, "default")


@pytest.fixture
def plain_queue(library: tej.RemoteQueue, queue_path: Path) -> Path:
    """Return a queue of the default runtime, even if this machine has a scheduler."""
    library.setup()
    return queue_path


@pytest.fixture(params=["local:", "server"])
def destination(request: pytest.FixtureRequest) -> str:
    """Return the destination of each kind of server, as a user types it."""
    return str(request.param)


@pytest.fixture
def job(client: Command) -> Callable[..., Path]:
    """Return a function that makes a job directory:

    `job(script, files)`.  The directory is in the current directory of the command.
    """

    def make(*arguments: object, **options: object) -> Path:
        return job_directory(client.place, *arguments, **options)  # type: ignore[arg-type]

    return make


@pytest.fixture
def waiting(
    library: tej.RemoteQueue, job: Callable[..., Path], gate: Gate
) -> Iterator[str]:
    """Return the id of a job that runs until the gate opens."""
    yield library.submit("waiting", job(gate.wait, name="waiting job"))
    gate.open()


@pytest.fixture
def ended(library: tej.RemoteQueue, job: Callable[..., Path]) -> str:
    """Return the id of a job that has finished with exit code 0."""
    files = {"results.csv": "a,b\n", "plots/one.png": "ONE", "plots/two.png": "TWO"}
    directory = job("echo out; echo err >&2", files, name="ended job")
    job_id = library.submit("ended", directory)
    wait_until_ended(library, job_id)
    return job_id


@pytest.fixture
def here(
    client: Command,
    plain_queue: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Callable[..., Done]:
    """Return `tej` in this process, which is faster; its profile sets the plain queue.

    The current directory is `client.place`, which contains `tej.toml`.
    """
    for name in ("TEJ_DESTINATION", "TEJ_QUEUE", "TEJ_PROFILE", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", client.environment["HOME"])
    monkeypatch.setenv("TEJ_RUNTIME", "default")
    monkeypatch.chdir(client.place)
    (client.place / "tej.toml").write_text(
        'default = "here"\n[profile.here]\ndestination = "local:"\n'
        f"queue = {json.dumps(str(plain_queue))}\n"
    )

    def run(*words: object) -> Done:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([*map(str, words)])
        said = capfd.readouterr()
        return Done(int(ended.value.code or 0), said.out, said.err)

    return run
