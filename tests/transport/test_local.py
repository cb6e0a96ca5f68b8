"""`local:`: the transport to this machine, and its differences from a server."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faults.faulty_servers import open_queue

import tej.__main__ as tej_command
from tej.destination import Destination
from tej.errors import ConnectionFailed, QueueExists
from tej.transport import Transport, open_transport
from tej.transport.local import LocalTransport
from tej.transport.program_start import COMMAND


@pytest.fixture
def local() -> Transport:
    return open_transport(Destination.parse("local:"))


def test_local_program_starts_at_home(
    local: Transport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert local.run("pwd -P").stdout.decode().strip() == str(tmp_path.resolve())


def test_missing_home_does_not_prevent_programs(
    local: Transport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "none"))
    assert local.run("pwd").stdout == b"/\n"


def test_program_has_its_own_session(local: Transport) -> None:
    session = int(local.run("ps -o sid= -p $$").stdout)
    assert session != os.getsid(0)


def test_recorded_input_does_not_hold_a_reply(
    tmp_path: Path, job: Callable[..., Path]
) -> None:
    """`tee` ends only when the client ends its input."""
    line = f"tee -a {tmp_path}/log | /bin/sh -c {shlex.quote(COMMAND)}"
    transport = LocalTransport(("/bin/sh", "-c", line))
    queue = open_queue(tmp_path / "queue", transport)
    found: list[bool] = []

    def use() -> None:
        directory = job("exit 0")
        found.extend(queue.ensure(directory).is_new for _ in range(2))
        found.append(queue.wait([one.job_id for one in queue.jobs()]) != {})
        (tmp_path / "queue/version").write_text("of another program")
        with pytest.raises(QueueExists, match="not from tej"):
            queue.submit("refused", directory)
        found.append(True)
        with pytest.raises(QueueExists, match="not from tej"):
            queue.wait(["refused"])
        found.append(True)

    # The requests would never end, so no pool may wait for its thread.
    thread = threading.Thread(target=use, daemon=True)
    thread.start()
    thread.join(60)
    assert found == [True, False, True, True, True]


def test_background_process_with_stderr_is_not_awaited(
    local: Transport, tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    done = local.run(f"sleep 600 >/dev/null & echo $! > '{pid}'; echo said >&2")
    os.kill(int(pid.read_text()), 9)
    assert done.stderr == b"said\n"


def test_windows_error_names_the_alternative(
    local: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(ConnectionFailed, match="WSL"):
        local.run("true")


def test_paramiko_is_imported_on_first_use(
    tmp_path: Path,
) -> None:
    program = """
import sys
from tej.destination import Destination
from tej.transport import open_transport
open_transport(Destination.parse("local:")).run("true")
ssh = open_transport(Destination.parse("user@server.example.org"))
print(ssh, "paramiko" in sys.modules)
"""
    script = tmp_path / "script.py"
    script.write_text(program)
    local = open_transport(Destination.parse("local:"))
    done = local.run(f"cd '{Path.cwd()}' && PYTHONPATH=. '{sys.executable}' '{script}'")
    expected = "ParamikoTransport('ssh://user@server.example.org') False\n"
    assert (done.stdout.decode(), done.stderr.decode()) == (expected, "")


@pytest.fixture
def ignored_sigchld() -> Iterator[None]:
    """Ignore SIGCHLD, as the programs that some supervisors start do."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGCHLD, before)


@pytest.mark.usefixtures("ignored_sigchld")
def test_ignored_sigchld_makes_no_status_zero(
    local: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConnectionFailed, match="ignores SIGCHLD"):
        local.run("exit 3")
    monkeypatch.setattr("tej.cli.main", lambda: None)
    monkeypatch.setattr("sys.argv", ["tej", "list"])
    tej_command.main()
    assert signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL
    assert local.run("exit 3").status == 3
