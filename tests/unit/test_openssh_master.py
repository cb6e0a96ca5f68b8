"""Command that starts a ControlMaster; no ssh runs."""

from __future__ import annotations

from pathlib import Path

import pytest

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
