"""The client on Windows, as far as it can be tested on other systems."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tej.cli.main import main

IMPORTS = """
import importlib, pkgutil, sys

for name in ("fcntl", "grp", "pty", "pwd", "readline", "resource", "termios", "tty"):
    sys.modules[name] = None
import tej

unix = ("tej.transport.openssh", "tej.transport.local", "tej.transport.pipes")
left_out = (*unix, "tej.queue.fork_relay", "tej.__main__", "tej.cli.top_screen", "tej.aio")
for module in pkgutil.walk_packages(tej.__path__, "tej."):
    if not module.name.startswith(left_out):
        importlib.import_module(module.name)
"""


def test_modules_need_no_module_of_unix() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["connect", "disconnect"])
def test_shared_connection_is_refused_on_windows(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(SystemExit) as ended:
        main([name, "lab"])
    assert ended.value.code == 2
    assert "On Windows, commands cannot share" in capsys.readouterr().err
