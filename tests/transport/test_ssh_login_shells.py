"""Login shells of all kinds, and start-up files that print text."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from servers.sshd import Sshd
from servers.users import Users, make_noisy

import tej
from tej.errors import ConnectionFailed
from tej.transport import Transport

pytestmark = pytest.mark.usefixtures("each_ssh")

SHELLS = ["sh", "bash", "zsh", "tcsh", "fish", "mksh"]

# Each of these characters is special in some shell.
PROGRAM = r"""printf '%s' "it's \$HOME !1 {a,b} \\ \"%d\""; cat; exit 5"""
PRINTED = rb"""it's $HOME !1 {a,b} \ "%d"data"""


@pytest.mark.parametrize("shell", SHELLS)
def test_program_runs_in_sh_under_any_shell(
    shell: str,
    require: Callable[[str], None],
    users: Users,
    start_sshd: Callable[..., Sshd],
    connect: Callable[..., Transport],
    tmp_path: Path,
) -> None:
    require(shell)
    server = start_sshd(folder=users.folder / "sshd")
    user = users.add(str(shutil.which(shell)), noisy=True)
    transport = connect(
        f"{user.name}@{server.host}:{server.port}", config_file=server.config(tmp_path)
    )
    done = transport.run(PROGRAM, [b"data"])
    assert done.status == 5
    assert done.stdout == PRINTED
    assert transport.run("pwd").stdout.endswith(f"{user.home}\n".encode())


def test_noisy_start_up_files_print(
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


@pytest.mark.parametrize(
    "line",
    [
        "read -r answer",
        "head -n 1 >/dev/null",
        "exec dash",
        "exec zsh",
        "printf() { :; }; read() { :; }; export -f printf read",
    ],
)
def test_start_up_file_may_replace_the_shell(
    line: str,
    start_sshd: Callable[..., Sshd],
    connect: Callable[..., Transport],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tej.transport.program_start.FIRST_OUTPUT_TIMEOUT", 0.5)
    home = tmp_path / "home"
    home.mkdir()
    # bash reads this file for sshd, too, if it is its login shell.
    (home / ".bashrc").write_text(f"{line}\n")
    server = start_sshd(home=home)
    transport = connect(server.destination, config_file=server.config(tmp_path))
    try:
        done = transport.run(PROGRAM, [b"data"])
    except ConnectionFailed as error:
        # The next attempt sends the program after the start-up files.
        assert "reads standard input" in str(error)  # noqa: PT017
        done = transport.run(PROGRAM, [b"data"])
    assert (done.status, done.stdout) == (5, PRINTED)


def test_server_silent_after_login_is_an_error(
    start_sshd: Callable[..., Sshd],
    connect: Callable[..., Transport],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("tej.transport.io_timeout.NOTICE", 0.1)
    server = start_sshd(options=["ForceCommand printf '1) shell 2) quit? '; sleep 30"])
    config = server.config(tmp_path)
    transport = connect(server.destination, config_file=config, io_timeout=4)
    with pytest.raises(ConnectionFailed, match="accepted the login") as caught:
        transport.run("true")
    assert "printed: 1) shell 2) quit?" in str(caught.value)
    assert caught.value.permanent
    assert "s: the network may be slow or busy, or a start-up" in caplog.text


def test_start_up_file_that_hides_the_reply_is_reported(
    start_sshd: Callable[..., Sshd],
    connect: Callable[..., Transport],
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    server = start_sshd(home=home)
    transport = connect(server.destination, config_file=server.config(tmp_path))
    queue = tej.RemoteQueue(server.destination, transport=transport)
    for line, cause in {
        "bash": "starts another shell",
        "exec 2>&1": "redirects stderr to stdout",
        "exec >/dev/null": "redirects stdout",
    }.items():
        (home / ".bashrc").write_text(f"{line}\n")
        with pytest.raises(tej.RemoteCommandFailure, match=cause) as caught:
            queue.jobs()
        assert "is unknown whether" in str(caught.value)


def test_background_program_of_a_start_up_file_is_reported(
    start_sshd: Callable[..., Sshd],
    connect: Callable[..., Transport],
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".bashrc").write_text("sleep 60 & echo $! >~/pid\n")
    server = start_sshd(home=home)
    config = server.config(tmp_path)
    transport = connect(server.destination, config_file=config, io_timeout=5)
    with pytest.raises(ConnectionFailed, match="program in the background") as caught:
        transport.run("true")
    assert caught.value.permanent
    os.kill(int((home / "pid").read_text()), signal.SIGTERM)
