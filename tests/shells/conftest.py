"""Server whose /bin/sh is another shell, mounted over the real one in a namespace.

The installed scripts and the jobs therefore run unchanged with that shell.  Needs root.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jobs import remove_queue

import tej
from tej.transport.local import LocalTransport
from tej.transport.program_start import COMMAND

SHELLS = ["dash", "bash", "mksh", "yash", "ksh"]
TOOLS = "busybox with its own tools"
"""Name of the case in which busybox provides all programs, as on Alpine."""
if os.environ.get("TEJ_THOROUGH"):
    SHELLS.append("busybox")


class ShellTransport(LocalTransport):
    """A transport to this machine with `shell` as its /bin/sh.

    The shell inherits a copy of stdout with a number of two digits, as from a start-up
    file.  A submission ends before its job only if the job does not inherit the copy.
    """

    def __init__(self, shell: str, path: str | None = None, prefix: str = "") -> None:
        inside = f"exec {prefix} /bin/sh -c {shlex.quote(COMMAND)}"
        if path is not None:
            inside = f"PATH={shlex.quote(path)}; export PATH; {inside}"
        mount = (
            f"mount --bind {shlex.quote(shell)} /bin/sh && exec {{COPY}}>&1 && {inside}"
        )
        super().__init__(["unshare", "-m", "bash", "-c", mount])


@pytest.fixture(scope="session")
def busybox_tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a link for each applet of busybox."""
    folder = tmp_path_factory.mktemp("applets")
    subprocess.run(["busybox", "--install", "-s", folder], check=True)
    return folder


@pytest.fixture(params=[*SHELLS, TOOLS])
def transport(
    request: pytest.FixtureRequest, require: Callable[[str], None]
) -> ShellTransport:
    require("root")
    require("unshare")
    name = request.param.split()[0]
    require(name)
    path = None
    if request.param == TOOLS:
        # Only setsid and unshare are taken from the machine.
        path = str(request.getfixturevalue("busybox_tools"))
    shell = shutil.which(name)
    assert shell is not None
    # yash cannot handle a path with bytes that are no characters in its locale.
    made = ShellTransport(shell, path, "env LC_ALL=C.UTF-8" if name == "yash" else "")
    if made.run("true").status != 0:
        pytest.skip("no mount namespace can be made here")
    return made


@pytest.fixture
def queue(
    transport: ShellTransport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tej.RemoteQueue]:
    """Return a queue at a path that needs quotes."""
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / 'it\'s a "queue" $HOME \\n é'
    yield tej.RemoteQueue("local:", path, "default", transport=transport)
    remove_queue(path)
