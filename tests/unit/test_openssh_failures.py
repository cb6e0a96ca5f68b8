"""Error messages of ssh: the exception class and the advice for each message."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tej import AuthenticationFailed, ConnectionFailed, HostKeyRejected
from tej.transport.openssh_config import SshConfig
from tej.transport.openssh_failures import connection_error

CONFIG = SshConfig(
    ("ssh", "-l", "me", "-p", "2222", "lab"),
    {"hostname": ["lab.example.org"], "user": ["me"], "port": ["2222"]},
)


def failure(stderr: str, status: int = 255) -> ConnectionFailed:
    return connection_error(CONFIG, 30, status, stderr.encode())


@pytest.mark.parametrize(
    ("stderr", "kind", "words"),
    [
        (
            "me@lab: Permission denied (publickey,password).",
            AuthenticationFailed,
            "tej connect me@lab:2222",
        ),
        (
            "me@lab: Permission denied (publickey).",
            AuthenticationFailed,
            r"run `ssh -v -l me -p 2222 lab true`\. ssh: me@lab: Permission",
        ),
        (
            "Received disconnect: Too many authentication failures",
            AuthenticationFailed,
            "IdentitiesOnly yes",
        ),
        (
            "sign_and_send_pubkey: agent refused operation\n"
            "me@lab: Permission denied (publickey).",
            AuthenticationFailed,
            "hardware key",
        ),
        ("Host key verification failed.", HostKeyRejected, "--accept-new-host-key"),
        (
            "REMOTE HOST IDENTIFICATION HAS CHANGED!\n"
            "Offending ED25519 key in /home/me/.ssh/known_hosts:7\n"
            "Host key verification failed.",
            HostKeyRejected,
            r"ssh-keygen -f /home/me/.ssh/known_hosts -R '\[lab.example.org\]:2222'",
        ),
        (
            "debug1: kex_exchange_identification: banner line 0\n"
            "unix_listener: cannot bind to path /gone/socket: No such file",
            ConnectionFailed,
            "ControlPath: the directory",
        ),
        (
            'unix_listener: path "/home/me/socket" too long for Unix domain socket',
            ConnectionFailed,
            "use %C",
        ),
        (
            "debug1: Server accepts key: /home/me/.ssh/id_ed25519\n"
            "me@lab: Permission denied (publickey).",
            AuthenticationFailed,
            "run ssh-add, or `tej connect me@lab:2222`",
        ),
        ("kex_exchange_identification: banner", ConnectionFailed, "SSH server"),
        (
            "debug1: kex_exchange_identification: banner line 0: Exceeded MaxStartups",
            ConnectionFailed,
            "too many logins at the moment",
        ),
        (
            "debug1: kex_exchange_identification: banner line 0: Not allowed at this time",
            ConnectionFailed,
            "PerSourcePenalties",
        ),
        (
            "kex_exchange_identification: read: Connection reset by peer",
            ConnectionFailed,
            "before the login",
        ),
        ("something new", ConnectionFailed, "ssh: something new"),
    ],
)
def test_message_selects_the_error(
    stderr: str, kind: type[ConnectionFailed], words: str
) -> None:
    with pytest.raises(ConnectionFailed, match=words) as raised:
        raise failure(stderr)
    assert type(raised.value) is kind
    assert raised.value.permanent is ("unix_listener" in stderr)


@pytest.mark.parametrize(
    "stderr",
    ["Could not resolve hostname lab", "connect to host lab: Connection refused"],
)
def test_wrong_address_is_permanent(stderr: str) -> None:
    assert failure(stderr).permanent


def test_accepted_key_of_two_factor_login_is_usable() -> None:
    stderr = (
        "debug1: Server accepts key: /home/me/.ssh/id_ed25519\n"
        'Authenticated using "publickey" with partial success.\n'
        "me@lab: Permission denied (keyboard-interactive)."
    )
    assert "ssh-add" not in str(failure(stderr))


def test_host_name_in_capitals_is_no_jump_host() -> None:
    config = SshConfig(CONFIG.command, {**CONFIG.values, "hostname": ["Lab.Example"]})
    stderr = (
        b"debug1: Authenticating to lab.example:2222 as 'me'\n"
        b"Host key verification failed."
    )
    error = connection_error(config, 30, 255, stderr)
    assert "--accept-new-host-key" in str(error)


@pytest.mark.parametrize(
    ("methods", "is_shown", "sent_secret"),
    [
        ("publickey,password", False, False),
        ("publickey,keyboard-interactive", True, True),
        ("publickey,hostbased", True, False),
    ],
)
def test_secret_is_sent_only_at_a_prompt(
    methods: str, is_shown: bool, sent_secret: bool
) -> None:
    said = f"me@lab: Permission denied ({methods}).".encode()
    error = connection_error(CONFIG, 30, 255, said, is_shown=is_shown)
    assert isinstance(error, AuthenticationFailed)
    assert error.sent_secret is sent_secret


def test_message_that_ssh_has_shown_is_not_repeated() -> None:
    stderr = b"me@lab: Permission denied (publickey)."
    error = connection_error(CONFIG, 30, 255, stderr, is_shown=True)
    assert str(error).endswith("lab true`.")
    assert "Permission denied" in str(error.__cause__)


def test_killed_ssh_did_not_answer_in_time() -> None:
    assert "does not answer in time (30 s)" in str(failure("", -1))


def test_agent_that_does_not_reply_is_suspected() -> None:
    said = "debug1: SSH2_MSG_NEWKEYS received"
    assert "answers, but ssh has not begun to log in" in str(failure(said, -1))
    later = f"{said}\ndebug1: Will attempt key: /home/me/.ssh/id_ed25519"
    assert "does not answer in time" in str(failure(later, -1))


@pytest.mark.parametrize(
    ("stderr", "words"),
    [
        (
            "debug1: Authenticating to gate:22 as 'guest'\n"
            "guest@gate: Permission denied (publickey).",
            "^guest@gate:22 did not accept the login",
        ),
        (
            "debug1: Authenticating to gate:22 as 'guest'\n"
            "debug1: Authenticating to lab.example.org:22 as 'me'\n"
            "me@lab: Permission denied (publickey).",
            "^me@lab.example.org:22 did not accept the login",
        ),
        (
            "ssh: connect to host gate port 22: Connection refused",
            "^The jump host gate:22 refuses connections",
        ),
        (
            "ssh: Could not resolve hostname gate: Name or service not known",
            "^The jump host gate cannot be found",
        ),
        (
            "ssh: connect to host gate port 22: No route to host\n"
            "kex_exchange_identification: Connection closed by remote host",
            "^The connection to the jump host gate:22 failed",
        ),
        (
            "debug1: Authenticating to gate:22 as 'guest'\n"
            "debug1: Server host key: ssh-ed25519 SHA256:abc\n"
            "Host key verification failed.",
            "^The host key of guest@gate:22 .* accept the key: `tej connect",
        ),
    ],
)
def test_failure_names_the_failing_jump_host(stderr: str, words: str) -> None:
    config = SshConfig(
        ("ssh", "--", "lab"),
        {
            "hostname": ["lab.example.org"],
            "user": ["me"],
            "port": ["22"],
            "proxyjump": ["guest@gate"],
        },
    )
    with pytest.raises(ConnectionFailed, match=words):
        raise connection_error(config, 30, 255, stderr.encode())


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes")
def test_only_a_regular_file_is_read_for_advice(tmp_path: Path) -> None:
    """The banner of a server can name any path, such as the terminal."""
    key, pipe = tmp_path / "key", tmp_path / "pipe"
    text = b"PuTTY-User-Key-File-3: ssh-ed448\n"
    key.write_bytes(text)
    os.mkfifo(pipe)
    # Opened for reading, too, so that the test would not block.
    descriptor = os.open(pipe, os.O_RDWR)
    try:
        os.write(descriptor, text)
        message = str(
            failure(
                f'Load key "{key}": invalid format\nLoad key "{pipe}": invalid format\n'
                "me@lab: Permission denied (publickey)."
            )
        )
    finally:
        os.close(descriptor)
    assert f"{key} cannot be used: it is in PuTTY's format" in message
    assert f"{pipe} cannot be used" not in message
