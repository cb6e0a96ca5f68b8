"""Routes to a server: aliases, jump hosts, proxy commands and IPv6."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from servers.sshd import Sshd

from tej.errors import AuthenticationFailed, ConnectionFailed, HostKeyRejected
from tej.transport import Transport

Connect = Callable[..., Transport]
Start = Callable[..., Sshd]

pytestmark = pytest.mark.usefixtures("each_ssh")

NETCAT = """
import os, socket, sys, threading
sock = socket.create_connection((sys.argv[1], int(sys.argv[2])))
def down():
    while data := sock.recv(65536):
        os.write(1, data)
    os._exit(0)
threading.Thread(target=down, daemon=True).start()
while data := os.read(0, 65536):
    sock.sendall(data)
"""


@pytest.fixture
def config(tmp_path: Path, sshd: Sshd) -> Callable[[str], Path]:
    """Return a function that writes an ssh_config with the shared sshd as `target`."""

    def write(text: str) -> Path:
        target = f"Host target\n HostName {sshd.address}\n Port {sshd.port}\n"
        return sshd.config(tmp_path, f"{text}\n{target}")

    return write


@pytest.fixture
def jump(start_sshd: Start, sshd: Sshd) -> Sshd:
    """Yield another server, which accepts the same key and is known to the client."""
    return _known(start_sshd(), sshd)


def _known(server: Sshd, sshd: Sshd) -> Sshd:
    server.authorized_keys.write_text(sshd.authorized_keys.read_text())
    with sshd.known_hosts.open("a") as known_hosts:
        known_hosts.write(server.known_hosts.read_text())
    return server


def test_alias_and_include_are_used(
    connect: Connect, sshd: Sshd, client_home: Path
) -> None:
    folder = client_home / ".ssh/config.d"
    folder.mkdir()
    own = client_home / ".ssh/config"
    (folder / "10-cluster.conf").write_text(own.read_text())
    own.write_text("Include config.d/*.conf\n")
    done = connect("server", config_file=None).run('printf %s "$SSH_CONNECTION"')
    assert done.stdout.decode().endswith(f"{sshd.address} {sshd.port}")


def test_user_configuration_is_read_by_default(
    connect: Connect, client_home: Path
) -> None:
    assert connect("server", config_file=None).run("printf 1").stdout == b"1"


def test_destination_overrides_user_and_port(
    connect: Connect, config: Callable[[str], Path], sshd: Sshd
) -> None:
    wrong = config(f"Host 127.0.0.1\n User nobody\n Port 1\n IdentityFile {sshd.key}")
    transport = connect(sshd.destination, config_file=wrong)
    assert transport.run("printf 1").stdout == b"1"


def test_match_block_is_used(
    connect: Connect, config: Callable[[str], Path], sshd: Sshd
) -> None:
    text = (
        f"Host cluster\n HostName 127.0.0.1\n"
        f"Match host 127.0.0.1 originalhost cluster\n Port {sshd.port}\nMatch all"
    )
    assert connect("cluster", config_file=config(text)).run("printf 1").stdout == b"1"


def test_jump_host_leads_to_target(
    connect: Connect, config: Callable[[str], Path], jump: Sshd, sshd: Sshd
) -> None:
    text = f"Host target\n ProxyJump {jump.destination}"
    transport = connect("target", config_file=config(text))
    done = transport.run('printf %s "$SSH_CONNECTION"')
    assert done.stdout.decode().endswith(f" {sshd.port}")
    assert jump.connections() == 1
    transport.close()


def test_jump_host_passes_a_megabyte(
    connect: Connect, config: Callable[[str], Path], jump: Sshd
) -> None:
    text = f"Host target\n ProxyJump {jump.destination}"
    data = bytes(range(256)) * 40_000
    transport = connect("target", config_file=config(text))
    assert transport.run("cat", [data]).stdout == data


def test_jump_hosts_may_be_aliases(
    connect: Connect,
    config: Callable[[str], Path],
    jump: Sshd,
    start_sshd: Start,
    sshd: Sshd,
) -> None:
    second = _known(start_sshd(), sshd)
    text = (
        f"Host first\n HostName 127.0.0.1\n Port {jump.port}\n"
        f"Host second\n HostName 127.0.0.1\n Port {second.port}\n"
    )
    transport = connect(
        "target",
        config_file=config(
            text + "Match originalhost target\n ProxyJump first,second\n"
        ),
    )
    assert transport.run("printf 1").stdout == b"1"
    assert (jump.connections(), second.connections()) == (1, 1)


def test_jump_hosts_may_be_nested(
    connect: Connect,
    config: Callable[[str], Path],
    jump: Sshd,
    start_sshd: Start,
    sshd: Sshd,
    each_ssh: str,
) -> None:
    """With `Host *` and ProxyJump, a jump host must not be reached through itself."""
    second = _known(start_sshd(), sshd)
    text = (
        f"Host first\n HostName 127.0.0.1\n Port {jump.port}\n"
        f"Host second\n HostName 127.0.0.1\n Port {second.port}\n ProxyJump first\n"
        f"Host first\n ProxyJump first\n"
        f"Host *\n ProxyJump second\n"
    )
    transport = connect("target", config_file=config(text))
    if each_ssh == "openssh":
        # Without tej's check, ssh would start more and more processes.
        with pytest.raises(ConnectionFailed, match="cycle"):
            transport.run("true")
        return
    assert transport.run("printf 1").stdout == b"1"
    assert (jump.connections(), second.connections()) == (1, 1)


def test_cycle_of_jump_hosts_is_an_error(
    connect: Connect, config: Callable[[str], Path]
) -> None:
    text = (
        "Host one\n HostName 127.0.0.1\n Port 1\n ProxyJump two\n"
        "Host two\n HostName 127.0.0.1\n Port 2\n ProxyJump one\n"
    )
    with pytest.raises(ConnectionFailed, match="cycle"):
        connect("one", config_file=config(text)).run("true")


def test_key_of_jump_host_is_checked(
    connect: Connect, config: Callable[[str], Path], start_sshd: Start, sshd: Sshd
) -> None:
    stranger = start_sshd()
    stranger.authorized_keys.write_text(sshd.authorized_keys.read_text())
    text = f"Host target\n ProxyJump {stranger.destination}"
    with pytest.raises(HostKeyRejected, match=str(stranger.port)):
        connect("target", config_file=config(text)).run("true")


def test_password_is_not_sent_to_jump_host(
    connect: Connect, config: Callable[[str], Path], start_sshd: Start, sshd: Sshd
) -> None:
    jump = start_sshd(options=["PasswordAuthentication yes"])
    text = f"Host target\n ProxyJump {jump.destination}"
    with sshd.known_hosts.open("a") as known_hosts:
        known_hosts.write(jump.known_hosts.read_text())
    transport = connect(
        "me:secret@target", config_file=config(text), transport="paramiko"
    )
    with pytest.raises(AuthenticationFailed, match=str(jump.port)) as caught:
        transport.run("true")
    assert "Failed password" not in jump.log.read_text()
    assert "given password" not in str(caught.value)


def test_unreachable_target_behind_jump_host_is_named(
    connect: Connect, config: Callable[[str], Path], jump: Sshd
) -> None:
    text = f"Host nowhere\n HostName 127.0.0.1\n Port 1\n ProxyJump {jump.destination}"
    wanted = rf"127\.0\.0\.1:1, through .*:{jump.port}"
    with pytest.raises(ConnectionFailed, match=wanted):
        connect("nowhere", config_file=config(text)).run("true")


def test_close_disconnects_the_jump_host(
    connect: Connect, config: Callable[[str], Path], jump: Sshd
) -> None:
    text = f"Host target\n ProxyJump {jump.destination}"
    # The ControlMaster of openssh is shared, and stays for `persist` seconds.
    transport = connect("target", config_file=config(text), persist="1")
    transport.run("true")
    transport.close()
    wait_until(lambda: jump.connections() == 0)


def test_next_run_reconnects_failed_jump_host(
    connect: Connect, config: Callable[[str], Path], jump: Sshd
) -> None:
    text = f"Host target\n ProxyJump {jump.destination}"
    transport = connect("target", config_file=config(text))
    transport.run("true")
    jump.cut()
    assert transport.run("printf again").stdout == b"again"


def test_proxy_command_leads_to_server(
    connect: Connect, config: Callable[[str], Path], tmp_path: Path
) -> None:
    netcat = tmp_path / "net cat.py"
    netcat.write_text(NETCAT)
    text = f'Host target\n ProxyCommand "{sys.executable}" "{netcat}" %h %p'
    transport = connect("target", config_file=config(text))
    data = bytes(range(256)) * 10_000
    assert transport.run("cat", [data]).stdout == data


def test_failed_proxy_command_is_quoted(
    connect: Connect, config: Callable[[str], Path], each_ssh: str
) -> None:
    text = "Host target\n ProxyCommand echo 'no route to %h' >&2; exit 1"
    # For a ControlMaster, ssh sends the stderr of the ProxyCommand to /dev/null.
    said = "ProxyCommand"
    if each_ssh == "paramiko":
        said = r"\. Its ProxyCommand said: no route to 127.0.0.1"
    with pytest.raises(ConnectionFailed, match=said):
        connect("target", config_file=config(text), timeout=60).run("true")


def test_proxy_command_ends_with_connection(
    connect: Connect, config: Callable[[str], Path], tmp_path: Path
) -> None:
    netcat, pid = tmp_path / "netcat.py", tmp_path / "pid"
    netcat.write_text(NETCAT)
    command = f"sh -c 'echo $$ >{pid}; exec {sys.executable} {netcat} %h %p'"
    config_file = config(f"Host target\n ProxyCommand {command}")
    transport = connect("target", config_file=config_file, transport="paramiko")
    transport.run("true")
    process = Path(f"/proc/{pid.read_text().strip()}")
    transport.close()
    assert not process.exists()


def test_server_is_reached_over_ipv6(
    connect: Connect, start_sshd: Start, tmp_path: Path
) -> None:
    if not _has_ipv6():
        pytest.skip("no IPv6 here")
    server = start_sshd(address="::1")
    config_file = server.config(tmp_path)
    known = server.known_hosts.read_text()
    server.known_hosts.write_text("")
    with pytest.raises(HostKeyRejected, match=rf"\[::1\]:{server.port}"):
        connect(server.destination, config_file=config_file).run("true")
    server.known_hosts.write_text(known)
    transport = connect(f"{server.user}@[::1]:{server.port}", config_file=config_file)
    assert transport.run("printf 1").stdout == b"1"


def test_address_family_can_be_selected(
    connect: Connect, config: Callable[[str], Path]
) -> None:
    text = "Host target\n AddressFamily inet6"
    with pytest.raises(ConnectionFailed, match="cannot be found"):
        connect("target", config_file=config(text)).run("true")


def _has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def wait_until(fact: Callable[[], bool]) -> None:
    """Wait until a condition is true; pytest's timeout is the limit."""
    while not fact():
        pass
