"""Login methods, and the error message if no method succeeds."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from servers.agent import RefusingAgent
from servers.sshd import Sshd, make_key, public_half
from servers.users import Users

from tej.errors import AuthenticationFailed
from tej.transport import Transport

Connect = Callable[..., Transport]
Start = Callable[..., Sshd]

PASSWORD = "sesame, öffne dich"
PASSWORDS_ONLY = ["PasswordAuthentication yes", "PubkeyAuthentication no"]


class Asked:
    """Replies to prompts with one answer after the other, and records the prompts."""

    def __init__(self, *answers: str) -> None:
        self.prompts: list[str] = []
        self._answers = list(answers)

    def __call__(self, prompt: str) -> str:
        self.prompts.append(prompt)
        return self._answers.pop(0)


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Start an ssh-agent without keys."""
    socket = tmp_path / "agent"
    said = subprocess.run(
        ["ssh-agent", "-s", "-a", socket], check=True, capture_output=True, text=True
    ).stdout
    pid = int(said.split("SSH_AGENT_PID=")[1].split(";")[0])
    monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
    yield socket
    os.kill(pid, signal.SIGTERM)


def add_to_agent(*keys: Path) -> None:
    for key in keys:
        subprocess.run(["ssh-add", "-q", key], check=True)


def config_with(folder: Path, sshd: Sshd, *lines: str) -> Path:
    """Return an ssh_config with the address of the server, but without keys."""
    path = folder / "ssh_config"
    files = (f'UserKnownHostsFile "{sshd.known_hosts}"', "GlobalKnownHostsFile none")
    path.write_text("\n".join([*lines, *files]))
    return path


def allow(sshd: Sshd, key: Path) -> Path:
    with sshd.authorized_keys.open("a") as keys:
        keys.write(public_half(key).read_text())
    return key


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_key_file_logs_in(
    kind: str, sshd: Sshd, connect: Connect, tmp_path: Path
) -> None:
    key = allow(sshd, make_key(tmp_path / "key", kind))
    config = config_with(tmp_path, sshd, f"IdentityFile {key}")
    assert connect(sshd.destination, config_file=config).run("printf 1").stdout == b"1"


@pytest.mark.parametrize("form", ["PEM", "PKCS8", "RFC4716"])
@pytest.mark.parametrize("passphrase", ["", PASSWORD])
def test_every_openssh_key_format_works(
    form: str, passphrase: str, sshd: Sshd, connect: Connect, tmp_path: Path
) -> None:
    key = allow(sshd, make_key(tmp_path / "key", "rsa"))
    subprocess.run(
        ["ssh-keygen", "-q", "-p", "-m", form, "-P", "", "-N", passphrase, "-f", key],
        check=True,
        capture_output=True,
    )
    config = config_with(tmp_path, sshd, f"IdentityFile {key}")
    asked = Asked(passphrase)
    transport = connect(sshd.destination, config_file=config, ask=asked)
    assert transport.run("printf 1").stdout == b"1"
    assert len(asked.prompts) == bool(passphrase)


def test_default_key_files_are_found(
    sshd: Sshd, connect: Connect, client_home: Path
) -> None:
    make_key(client_home / ".ssh/id_rsa", "rsa")
    allow(sshd, make_key(client_home / ".ssh/id_ecdsa", "ecdsa"))
    config = config_with(client_home, sshd)
    assert connect(sshd.destination, config_file=config).run("printf 1").stdout == b"1"


def test_passphrase_prompt_repeats_until_correct(
    sshd: Sshd, connect: Connect, tmp_path: Path
) -> None:
    key = allow(sshd, make_key(tmp_path / "key", passphrase=PASSWORD))
    config = config_with(tmp_path, sshd, f"IdentityFile {key}")
    asked = Asked("wrong", PASSWORD)
    transport = connect(sshd.destination, config_file=config, ask=asked)
    assert transport.run("printf 1").stdout == b"1"
    assert asked.prompts == [f"Passphrase for {key}: "] * 2


def test_passphrase_prompt_appears_once_per_connection(
    sshd: Sshd, connect: Connect, tmp_path: Path
) -> None:
    key = allow(sshd, make_key(tmp_path / "key", passphrase=PASSWORD))
    config = config_with(tmp_path, sshd, f"IdentityFile {key}")
    asked = Asked(PASSWORD)
    transport = connect(sshd.destination, config_file=config, ask=asked)
    for _ in range(3):
        transport.run("true")


def test_encrypted_key_without_prompt_is_named(
    sshd: Sshd, connect: Connect, tmp_path: Path
) -> None:
    key = allow(sshd, make_key(tmp_path / "key", passphrase=PASSWORD))
    config = config_with(tmp_path, sshd, f"IdentityFile {key}")
    with pytest.raises(AuthenticationFailed, match=r"key has a passphrase .*ssh-add"):
        connect(sshd.destination, config_file=config).run("true")


def test_agent_logs_in(
    sshd: Sshd, connect: Connect, tmp_path: Path, agent: Path
) -> None:
    add_to_agent(sshd.key)
    config = config_with(tmp_path, sshd, f"IdentityFile {tmp_path}/none")
    assert connect(sshd.destination, config_file=config).run("printf 1").stdout == b"1"


def test_public_key_file_selects_agent_key(
    sshd: Sshd, connect: Connect, tmp_path: Path, agent: Path
) -> None:
    others = [make_key(tmp_path / f"other{number}") for number in range(8)]
    add_to_agent(*others, sshd.key)
    picked = tmp_path / "picked.pub"
    picked.write_text(public_half(sshd.key).read_text())
    config = config_with(tmp_path, sshd, f"IdentityFile {picked}")
    assert connect(sshd.destination, config_file=config).run("printf 1").stdout == b"1"


def test_given_key_file_precedes_agent_keys(
    sshd: Sshd, connect: Connect, tmp_path: Path, agent: Path
) -> None:
    add_to_agent(*[make_key(tmp_path / f"other{number}") for number in range(8)])
    config = config_with(tmp_path, sshd, f"IdentityFile {sshd.key}")
    assert connect(sshd.destination, config_file=config).run("printf 1").stdout == b"1"


def test_too_many_keys_in_the_agent_are_explained(
    sshd: Sshd, connect: Connect, tmp_path: Path, agent: Path
) -> None:
    add_to_agent(*[make_key(tmp_path / f"other{number}") for number in range(8)])
    config = config_with(tmp_path, sshd, f"IdentityFile {tmp_path}/none")
    with pytest.raises(AuthenticationFailed, match="IdentitiesOnly yes"):
        connect(sshd.destination, config_file=config).run("true")


def test_identities_only_excludes_other_agent_keys(
    sshd: Sshd, connect: Connect, tmp_path: Path, agent: Path
) -> None:
    add_to_agent(sshd.key)
    lines = (f"IdentityFile {make_key(tmp_path / 'other')}", "IdentitiesOnly yes")
    config = config_with(tmp_path, sshd, *lines)
    with pytest.raises(
        AuthenticationFailed, match=r"other\. The server accepts: publickey"
    ):
        connect(sshd.destination, config_file=config).run("true")


def test_missing_agent_is_no_error(
    sshd: Sshd, connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "gone"))
    assert connect(sshd.destination).run("printf 1").stdout == b"1"


def test_agent_that_never_replies_is_not_used(
    sshd: Sshd,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("tej.transport.paramiko.agent.AGENT_TIMEOUT", 0.2)
    path = Path(tempfile.mkdtemp()) / "agent"
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
        transport = connect(sshd.destination, transport="paramiko")
        assert transport.run("printf 1").stdout == b"1"
    assert "agent does not reply" in caplog.text


def test_error_without_keys_lists_accepted_methods(
    sshd: Sshd, connect: Connect, tmp_path: Path
) -> None:
    config = config_with(tmp_path, sshd, f"IdentityFile {tmp_path}/none")
    wanted = rf"{sshd.port} did not accept the login.*nothing.*accepts: publickey"
    with pytest.raises(AuthenticationFailed, match=wanted):
        connect(sshd.destination, config_file=config).run("true")


@pytest.fixture
def login(
    users: Users, start_sshd: Start, connect: Connect, tmp_path: Path
) -> Callable[..., Transport]:
    """Return a function that opens a transport to a user with a password."""
    user = users.add(password=PASSWORD)

    def open_(
        *options: str,
        password: str | None = None,
        ask: Asked | None = None,
        identity: bool = False,
    ) -> Transport:
        server = start_sshd(folder=users.folder / "sshd", options=options)
        key = server.key if identity else tmp_path / "none"
        config = config_with(tmp_path, server, f"IdentityFile {key}")
        secret = "" if password is None else ":" + password.replace(" ", "%20")
        where = f"ssh://{user.name}{secret}@{server.host}:{server.port}"
        return connect(where, config_file=config, ask=ask)

    return open_


def test_password_in_destination_logs_in(
    login: Callable[..., Transport], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("tej.paramiko").setLevel(logging.DEBUG)
    transport = login(*PASSWORDS_ONLY, password=PASSWORD)
    try:
        assert transport.run("printf 1").stdout == b"1"
    finally:
        logging.getLogger("tej.paramiko").setLevel(logging.CRITICAL)
    assert PASSWORD not in caplog.text
    assert PASSWORD not in repr(transport)


def test_wrong_password_is_refused_and_not_shown(
    login: Callable[..., Transport], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(AuthenticationFailed, match="the given password") as caught:
        login(*PASSWORDS_ONLY, password="not-this-one").run("true")
    cause: BaseException | None = caught.value
    while cause is not None:
        assert "not-this-one" not in str(cause)
        cause = cause.__cause__ or cause.__context__
    assert "not-this-one" not in caplog.text


def test_password_prompt_repeats_until_correct(
    login: Callable[..., Transport],
) -> None:
    asked = Asked("wrong", PASSWORD)
    assert login(*PASSWORDS_ONLY, ask=asked).run("printf 1").stdout == b"1"
    assert len(asked.prompts) == 2
    assert asked.prompts[0].startswith("Password for tejtest")


def test_login_fails_after_three_wrong_passwords(
    login: Callable[..., Transport],
) -> None:
    asked = Asked("wrong", "wronger", "wrongest", PASSWORD)
    with pytest.raises(AuthenticationFailed, match="a typed password"):
        login(*PASSWORDS_ONLY, ask=asked).run("true")
    assert len(asked.prompts) == 3


def test_key_login_prompts_for_no_password(
    login: Callable[..., Transport],
) -> None:
    asked = Asked()
    transport = login("PasswordAuthentication yes", ask=asked, identity=True)
    assert transport.run("printf 1").stdout == b"1"


def test_server_may_require_key_and_password(
    login: Callable[..., Transport],
) -> None:
    both = ["PasswordAuthentication yes", "AuthenticationMethods publickey,password"]
    asked = Asked(PASSWORD)
    transport = login(*both, ask=asked, identity=True)
    assert transport.run("printf 1").stdout == b"1"
    assert len(asked.prompts) == 1


PAM = [
    "UsePAM yes",
    "KbdInteractiveAuthentication yes",
    "PubkeyAuthentication no",
    "PasswordAuthentication no",
]


def test_keyboard_interactive_shows_server_prompts(
    login: Callable[..., Transport],
) -> None:
    asked = Asked(PASSWORD)
    assert login(*PAM, ask=asked).run("printf 1").stdout == b"1"
    (prompt,) = asked.prompts
    assert "Password:" in prompt
    assert "tejtest" in prompt


def test_keyboard_interactive_uses_password_of_destination(
    login: Callable[..., Transport],
) -> None:
    assert login(*PAM, password=PASSWORD).run("printf 1").stdout == b"1"


def test_keyboard_interactive_error_quotes_the_prompt(
    login: Callable[..., Transport],
) -> None:
    with pytest.raises(AuthenticationFailed, match="accepts: keyboard-interactive"):
        login(*PAM).run("true")


def test_interrupt_at_prompt_is_raised(
    login: Callable[..., Transport],
) -> None:
    def interrupted(prompt: str) -> str:
        raise KeyboardInterrupt

    for options in (PASSWORDS_ONLY, PAM):
        with pytest.raises(KeyboardInterrupt):
            login(*options, ask=interrupted).run("true")  # type: ignore[arg-type]


@pytest.mark.parametrize("passphrase", ["", "open sesame"])
def test_key_text_and_known_hosts_text_suffice(
    connect: Connect, sshd: Sshd, tmp_path: Path, passphrase: str
) -> None:
    key = make_key(tmp_path / "a key", passphrase=passphrase)
    with sshd.authorized_keys.open("a") as authorized:
        authorized.write(public_half(key).read_text())
    empty = tmp_path / "nothing is known"
    empty.write_text("UserKnownHostsFile none\nGlobalKnownHostsFile none\n")
    ssh = connect(
        sshd.destination,
        config_file=empty,
        key=key.read_text(),
        known_hosts=sshd.known_hosts.read_text(),
        ask=lambda prompt: passphrase if prompt.startswith("Passphrase") else "",
    )
    assert ssh.run("echo in").stdout == b"in\n"


def test_only_the_given_key_is_offered(
    connect: Connect, sshd: Sshd, tmp_path: Path
) -> None:
    stranger = make_key(tmp_path / "stranger")
    ssh = connect(sshd.destination, key=stranger.read_text())
    with pytest.raises(AuthenticationFailed, match="Tried: the given key"):
        ssh.run("echo in")


def test_agent_that_refuses_to_sign_is_skipped(
    sshd: Sshd,
    connect: Connect,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    each_ssh: str,
) -> None:
    """As with an unplugged hardware key, the server accepts a key that cannot sign."""
    token = allow(sshd, make_key(tmp_path / "token"))
    config = config_with(
        tmp_path, sshd, f"IdentityFile {tmp_path}/token.pub", f"IdentityFile {sshd.key}"
    )
    token.unlink()
    path = Path(tempfile.mkdtemp()) / "agent"
    monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
    with RefusingAgent(path, [public_half(token)]) as agent:
        transport = connect(sshd.destination, config_file=config)
        assert transport.run("printf 1").stdout == b"1"
        assert agent.refused


def test_key_file_that_others_can_read_is_refused(
    sshd: Sshd, connect: Connect, tmp_path: Path, each_ssh: str
) -> None:
    key = allow(sshd, make_key(tmp_path / "key"))
    key.chmod(0o644)
    config = config_with(tmp_path, sshd, f"IdentityFile {key}", "IdentitiesOnly yes")
    with pytest.raises(AuthenticationFailed, match=r"chmod 600|too open"):
        connect(sshd.destination, config_file=config).run("true")


@pytest.fixture
def certified(start_sshd: Start, tmp_path: Path) -> Sshd:
    """Yield a server that trusts a certificate authority and has a host certificate."""
    authority = make_key(tmp_path / "authority")
    server = start_sshd(
        options=[f"TrustedUserCAKeys {public_half(authority)}", "AcceptEnv LC_*"]
    )
    server.authorized_keys.write_text("")
    return server


def sign(tmp_path: Path, key: Path, *options: str) -> Path:
    """Return the certificate of a key, signed by the authority."""
    command = ["ssh-keygen", "-q", "-s", tmp_path / "authority", "-I", "me", *options]
    subprocess.run([*command, public_half(key)], check=True, capture_output=True)
    return key.with_name(f"{key.name}-cert.pub")


def test_key_files_in_other_formats_are_named(
    each_ssh: str, sshd: Sshd, connect: Connect, tmp_path: Path
) -> None:
    putty, notes = tmp_path / "key.ppk", tmp_path / "notes.txt"
    putty.write_text("PuTTY-User-Key-File-3: ssh-ed448\nEncryption: none\n")
    notes.write_text("this is no key\n")
    for file in (putty, notes):
        file.chmod(0o600)
    lines = (f"IdentityFile {putty}", f"IdentityFile {notes}")
    if each_ssh == "paramiko":
        (tmp_path / "folder").mkdir()
        lines += (f"IdentityFile {tmp_path}/folder",)
    config = config_with(tmp_path, sshd, *lines)
    with pytest.raises(AuthenticationFailed) as caught:
        connect(sshd.destination, config_file=config).run("true")
    message = str(caught.value)
    assert f"{putty} cannot be used: it is in PuTTY's format: convert it" in message
    assert str(notes) in message
    assert (f"{tmp_path}/folder cannot be used" in message) == (each_ssh == "paramiko")


def test_certificate_file_identity_agent_and_setenv_are_honoured(
    certified: Sshd,
    connect: Connect,
    tmp_path: Path,
    each_ssh: str,
    agent: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    away = tmp_path / "away"
    away.mkdir()
    plain = make_key(tmp_path / "plain")
    moved = away / "certificate.pub"
    sign(tmp_path, plain, "-n", certified.user).rename(moved)
    lines = (f"IdentityFile {plain}", f"CertificateFile {moved}", "SetEnv LC_A=blue")
    config = config_with(tmp_path, certified, *lines)
    transport = connect(certified.destination, config_file=config)
    assert transport.run('printf %s "$LC_A"').stdout == b"blue"
    transport.close()

    # Use an RSA certificate that only an agent has; IdentityAgent selects the agent.
    rsa = make_key(tmp_path / "rsa", "rsa")
    sign(tmp_path, rsa, "-n", certified.user)
    add_to_agent(rsa)
    for name in ("rsa", "rsa-cert.pub", "rsa.pub"):
        (tmp_path / name).unlink()
    monkeypatch.delenv("SSH_AUTH_SOCK")
    lines = (f"IdentityFile {tmp_path}/none", f"IdentityAgent {agent}")
    (tmp_path / "two").mkdir()
    config = config_with(tmp_path / "two", certified, *lines)
    transport = connect(certified.destination, config_file=config)
    assert transport.run("printf 1").stdout == b"1"


def test_host_certificate_is_checked_by_openssh(
    certified: Sshd, connect: Connect, tmp_path: Path
) -> None:
    host = certified.host_key("ed25519")
    certificate = sign(tmp_path, host, "-h", "-n", certified.address)
    certified.stop()
    certified.options.append(f"HostCertificate {certificate}")
    certified.authorized_keys.write_text(public_half(certified.key).read_text())
    certified.start()
    known = tmp_path / "known"
    authority = public_half(tmp_path / "authority").read_text()
    known.write_text(f"@cert-authority * {authority}")
    config = tmp_path / "ssh_config"
    config.write_text(
        f"IdentityFile {certified.key}\nUserKnownHostsFile {known}\n"
        "GlobalKnownHostsFile none\n"
    )
    transport = connect(certified.destination, config_file=config, transport="openssh")
    assert transport.run("printf 1").stdout == b"1"
