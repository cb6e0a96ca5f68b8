"""Any login shell will do, and whatever its start-up files print."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from servers.sshd import Sshd
from servers.users import Users, make_noisy

from tej.transport import Transport

pytestmark = pytest.mark.usefixtures("each_ssh")

SHELLS = ["sh", "bash", "zsh", "tcsh", "fish", "mksh"]

# Quotes, dollars, exclamation marks and braces, each special to some shell.
PROGRAM = r"""printf '%s' "it's \$HOME !1 {a,b} \\ \"%d\""; cat; exit 5"""
PRINTED = rb"""it's $HOME !1 {a,b} \ "%d"data"""


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("noisy", [False, True], ids=["quiet", "noisy"])
def test_a_program_runs_in_sh_whatever_the_login_shell(
    shell: str,
    noisy: bool,
    require: Callable[[str], None],
    users: Users,
    start_sshd: Callable[..., Sshd],
    connect: Callable[..., Transport],
    tmp_path: Path,
) -> None:
    require(shell)
    server = start_sshd(folder=users.folder / "sshd")
    user = users.add(str(shutil.which(shell)), noisy=noisy)
    transport = connect(
        f"{user.name}@{server.host}:{server.port}", config_file=server.config(tmp_path)
    )
    done = transport.run(PROGRAM, [b"data"])
    assert done.status == 5
    assert done.stdout == PRINTED
    assert transport.run("pwd").stdout.endswith(f"{user.home}\n".encode())


def test_a_noisy_home_is_noisy(
    start_sshd: Callable[..., Sshd],
    connect: Callable[..., Transport],
    tmp_path: Path,
) -> None:
    home = tmp_path / "noisy home"
    make_noisy(home)
    server = start_sshd(home=home)
    transport = connect(server.destination, config_file=server.config(tmp_path))
    done = transport.run('printf "home=%s" ~')
    assert done.stdout == f"home={home}".encode()
