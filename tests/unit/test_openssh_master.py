"""A ControlMaster: the command that starts it, and its end; no ssh runs."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from clocks import SimulatedTime

from tej.transport import (
    openssh,
    openssh_config,
    openssh_login_process,
    openssh_master,
)
from tej.transport.openssh_config import SshConfig
from tej.transport.openssh_login_process import LoginProcess
from tej.transport.openssh_master import Master
from tej.transport.settings import Settings


@pytest.mark.parametrize(
    ("path", "persist", "option"),
    [
        # The user's configuration determines only how long the user's own socket lives.
        ("none", "yes", "ControlPersist=77"),
        ("socket", "yes", None),
        ("socket", "no", "ControlPersist=77"),
        ("socket", "", "ControlPersist=77"),
    ],
)
def test_persist_time_of_the_user_is_kept(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    persist: str,
    option: str | None,
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    values = {
        "controlmaster": ["auto"],
        "controlpath": [path if path == "none" else str(tmp_path / path)],
        "controlpersist": [persist],
    }
    config = SshConfig(("ssh", "server"), values)
    master = Master(config, Settings(persist="77"))
    assert master.own == (path == "none")
    words = master._command(terminal=False)
    found = [word for word in words if word.startswith("ControlPersist=")]
    assert found == ([option] if option else [])


@pytest.mark.parametrize(
    ("lives", "words"),
    [(0.0, "was lost"), (0.29, "was lost"), (9.0, "without an exit status")],
)
def test_connection_is_lost_if_its_master_exits(
    monkeypatch: pytest.MonkeyPatch, lives: float, words: str
) -> None:
    """Only a program that may have been sent again is reported as a lost connection."""
    time = SimulatedTime()
    monkeypatch.setattr(openssh, "time", time)

    def pid(_: float) -> int:
        if time.now < lives:
            return 7
        raise ConnectionResetError

    session: Any = openssh.MasterSession.__new__(openssh.MasterSession)
    session._connection = SimpleNamespace(where="lab")
    session._probe = SimpleNamespace(pid=pid)
    session._mux = SimpleNamespace(master_pid=7)
    failure = session._no_status()
    assert words in str(failure)
    assert time.now <= 0.35
    assert isinstance(failure.__cause__, EOFError) is (words == "was lost")


def test_configuration_of_another_home_is_included(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ssh itself would read the home directory of the account."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    own = tmp_path / "config"
    assert openssh_config._files(own) == ["-F", str(own)]
    assert openssh_config._files(None) == []
    folder = tmp_path / ".ssh"
    folder.mkdir()
    (folder / "id_rsa").touch()
    option, path = openssh_config._files(None)
    assert option == "-F"
    assert Path(path).read_text().splitlines() == [
        f'Include "{folder}/config"',
        "Match all",
        f'    UserKnownHostsFile "{folder}/known_hosts" "{folder}/known_hosts2"',
        f'    IdentityFile "{folder}/id_rsa"',
        "Include /etc/ssh/ssh_config",
    ]
    assert openssh_config._files(None) == [option, path]
    monkeypatch.setenv("HOME", pwd.getpwuid(os.getuid()).pw_dir)
    assert openssh_config._files(None) == []


@pytest.mark.parametrize("shown", [True, False])
def test_cancelled_login_leaves_no_process(
    monkeypatch: pytest.MonkeyPatch, shown: bool
) -> None:
    calls: list[Any] = []
    process: Any = SimpleNamespace(
        poll=lambda: None,
        terminate=lambda: calls.append("terminate"),
        stderr=SimpleNamespace(close=lambda: calls.append("close")),
    )

    def wait(limit: float) -> None:
        calls.append(limit)
        raise subprocess.TimeoutExpired("ssh", limit)

    process.wait = wait
    monkeypatch.setattr(
        openssh_login_process, "_kill", lambda _, group: calls.append(("kill", group))
    )
    login: Any = LoginProcess.__new__(LoginProcess)
    login._process, login.is_shown = process, shown
    login._relay = SimpleNamespace(finish=lambda: b"said")
    login.cancel()
    end = [("kill", not shown), "close"]
    assert calls == (["terminate", 1, *end] if shown else end)
    process.poll = lambda: 0
    del calls[:]
    assert login._end() == b"said"
    assert calls == ["close"]


@pytest.mark.parametrize("own", [True, False])
def test_replaced_master_of_tej_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: bool
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    stopped: list[tuple[Path, int]] = []
    monkeypatch.setattr(
        openssh_master,
        "stop_master",
        lambda path, *, replaced: stopped.append((path, replaced)),
    )
    values = {
        "controlmaster": ["auto"],
        "controlpath": ["none" if own else str(tmp_path / "socket")],
        "controlpersist": ["yes"],
    }
    master = Master(SshConfig(("ssh", "server"), values), Settings())
    before = master.path
    master.replace(7)
    assert stopped == ([(before, 7)] if own else [])
    assert master.own
    assert (master.path == before) is own
