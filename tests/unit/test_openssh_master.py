"""A ControlMaster: the command that starts it, and its end; no ssh runs."""

from __future__ import annotations

import errno
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tej.transport import openssh
from tej.transport.openssh_config import SshConfig
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
    [(0.0, "was lost"), (0.29, "was lost"), (9.0, "was ended by a signal")],
)
def test_connection_is_lost_if_its_master_exits(
    monkeypatch: pytest.MonkeyPatch, lives: float, words: str
) -> None:
    """Only a program that may have been sent again is reported as a lost connection."""
    clock = [0.0]

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    time = SimpleNamespace(monotonic=lambda: clock[0], sleep=sleep)
    monkeypatch.setattr(openssh, "time", time)
    monkeypatch.setattr(openssh, "is_alive", lambda _: clock[0] < lives)
    session: Any = openssh.MasterSession.__new__(openssh.MasterSession)
    session._connection = SimpleNamespace(
        where="lab", master=SimpleNamespace(path=Path())
    )
    failure = session._no_status()
    assert words in str(failure)
    assert clock[0] <= 0.35
    assert isinstance(failure.__cause__, EOFError) is (words == "was lost")


def test_master_that_cannot_be_asked_counts_as_dead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_: Path) -> bool:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(openssh, "is_alive", fail)
    assert not openssh._may_be_alive(Path())
