"""Host keys: a server with an unknown or changed key is refused."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from servers.sshd import Sshd, make_key, public_half

from tej.errors import HostKeyRejected
from tej.transport import Transport

Connect = Callable[..., Transport]
Start = Callable[..., Sshd]


@pytest.fixture
def known_hosts(tmp_path: Path) -> Path:
    """Return the path of the client's known_hosts file, which does not exist yet."""
    return tmp_path / "dot ssh/known_hosts"


@pytest.fixture
def reach(connect: Connect, sshd: Sshd, known_hosts: Path, tmp_path: Path) -> Connect:
    """Return a function that opens a transport with the keys in `known_hosts`."""

    def open_(server: Sshd = sshd, *lines: str, **options: object) -> Transport:
        config = tmp_path / "ssh_config"
        ours = [f'UserKnownHostsFile "{known_hosts}"', f"IdentityFile {server.key}"]
        config.write_text("\n".join([*lines, *ours, "GlobalKnownHostsFile none"]))
        return connect(server.destination, config_file=config, **options)

    return open_


def write(known_hosts: Path, *lines: str) -> None:
    known_hosts.parent.mkdir(exist_ok=True)
    known_hosts.write_text("\n".join(lines) + "\n")


def name(server: Sshd) -> str:
    return f"[{server.address}]:{server.port}"


def public(server: Sshd, kind: str = "ed25519") -> str:
    return " ".join(public_half(server.host_key(kind)).read_text().split()[:2])


def fingerprint(key: Path) -> str:
    said = subprocess.run(
        ["ssh-keygen", "-lf", key], check=True, capture_output=True, text=True
    )
    return said.stdout.split()[1]


def test_unknown_key_is_refused_with_fingerprint(
    reach: Connect, sshd: Sshd, known_hosts: Path
) -> None:
    with pytest.raises(HostKeyRejected) as caught:
        reach().run("true")
    message = str(caught.value)
    assert fingerprint(sshd.host_key("ed25519")) in message
    assert "ED25519" in message
    assert "--accept-new-host-key" in message
    assert f"{sshd.address}:{sshd.port}" in message
    assert not known_hosts.exists()


def test_suggested_command_adds_the_key(reach: Connect, known_hosts: Path) -> None:
    with pytest.raises(HostKeyRejected) as caught:
        reach().run("true")
    command = str(caught.value).rpartition(", or ")[2]
    known_hosts.parent.mkdir()
    subprocess.run(command, shell=True, check=True, capture_output=True)
    assert reach().run("printf 1").stdout == b"1"


def test_new_key_is_accepted_and_stored(
    reach: Connect, sshd: Sshd, known_hosts: Path
) -> None:
    assert reach(accept_new_host_key=True).run("printf 1").stdout == b"1"
    assert known_hosts.read_text() == f"{name(sshd)} {public(sshd)}\n"
    assert known_hosts.stat().st_mode & 0o777 == 0o600
    assert known_hosts.parent.stat().st_mode & 0o777 == 0o700
    assert reach().run("printf 1").stdout == b"1"


def test_ssh_reads_the_written_known_hosts(
    reach: Connect, sshd: Sshd, tmp_path: Path
) -> None:
    reach(accept_new_host_key=True).run("true")
    command = ["ssh", "-F", tmp_path / "ssh_config", "-o", "BatchMode=yes"]
    done = subprocess.run(
        [*command, "-p", str(sshd.port), f"{sshd.user}@{sshd.address}", "printf 1"],
        capture_output=True,
    )
    assert done.stdout == b"1"


def test_known_hosts_without_final_newline_is_kept(
    reach: Connect, known_hosts: Path
) -> None:
    write(known_hosts, "# mine")
    known_hosts.write_text("# mine\nother ssh-rsa AAAA")
    reach(accept_new_host_key=True).run("true")
    assert known_hosts.read_text().startswith("# mine\nother ssh-rsa AAAA\n[")
    assert reach().run("printf 1").stdout == b"1"


def test_hashknownhosts_hashes_names(
    reach: Connect, sshd: Sshd, known_hosts: Path
) -> None:
    reach(sshd, "HashKnownHosts yes", accept_new_host_key=True).run("true")
    assert known_hosts.read_text().startswith("|1|")
    assert reach().run("printf 1").stdout == b"1"


def test_names_hashed_by_ssh_keygen_match(
    reach: Connect, sshd: Sshd, known_hosts: Path
) -> None:
    write(known_hosts, f"{name(sshd)} {public(sshd)}", f"example {public(sshd)}")
    subprocess.run(
        ["ssh-keygen", "-H", "-f", known_hosts], check=True, capture_output=True
    )
    assert name(sshd) not in known_hosts.read_text()
    assert reach().run("printf 1").stdout == b"1"


@pytest.mark.parametrize("accept", [False, True])
@pytest.mark.parametrize("strict", ["ask", "accept-new", "no", "off"])
def test_changed_key_is_refused_naming_line(
    accept: bool,
    strict: str,
    reach: Connect,
    sshd: Sshd,
    known_hosts: Path,
    tmp_path: Path,
) -> None:
    other = make_key(tmp_path / "other")
    theirs = " ".join(public_half(other).read_text().split()[:2])
    write(known_hosts, "# a comment", f"{name(sshd)} {theirs}")
    before = known_hosts.read_text()
    with pytest.raises(HostKeyRejected, match="HAS CHANGED") as caught:
        reach(sshd, f"StrictHostKeyChecking {strict}", accept_new_host_key=accept).run(
            "true"
        )
    message = str(caught.value)
    assert f"{known_hosts}:2" in message
    assert fingerprint(other) in message
    assert fingerprint(sshd.host_key("ed25519")) in message
    assert known_hosts.read_text() == before


def test_suggested_command_removes_changed_key(
    reach: Connect, sshd: Sshd, known_hosts: Path, tmp_path: Path
) -> None:
    theirs = public_half(make_key(tmp_path / "other")).read_text()
    write(known_hosts, f"{name(sshd)} {theirs}")
    with pytest.raises(HostKeyRejected) as caught:
        reach().run("true")
    command = str(caught.value).rpartition("right: ")[2]
    subprocess.run(command, shell=True, check=True, capture_output=True)
    assert reach(accept_new_host_key=True).run("printf 1").stdout == b"1"


@pytest.mark.parametrize("strict", ["accept-new", "no", "off"])
def test_stricthostkeychecking_may_accept_new_keys(
    strict: str, reach: Connect, sshd: Sshd, known_hosts: Path
) -> None:
    transport = reach(sshd, f"StrictHostKeyChecking {strict}")
    assert transport.run("printf 1").stdout == b"1"
    assert public(sshd) in known_hosts.read_text()


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_known_key_type_is_requested(
    kind: str, reach: Connect, start_sshd: Start, known_hosts: Path
) -> None:
    server = start_sshd(host_key_types=["ed25519", "rsa"])
    write(known_hosts, f"{name(server)} {public(server, kind)}")
    assert reach(server).run("printf 1").stdout == b"1"


def test_key_of_another_type_is_new(
    reach: Connect, start_sshd: Start, known_hosts: Path
) -> None:
    server = start_sshd(host_key_types=["rsa"])
    theirs = public_half(make_key(server.folder / "lost")).read_text()
    write(known_hosts, f"{name(server)} {theirs}")
    with pytest.raises(HostKeyRejected, match="not known"):
        reach(server).run("true")
    accepting = reach(server, accept_new_host_key=True)
    assert accepting.run("printf 1").stdout == b"1"


def test_key_of_port_22_replaces_no_key(
    reach: Connect, sshd: Sshd, known_hosts: Path, tmp_path: Path
) -> None:
    theirs = public_half(make_key(tmp_path / "other")).read_text()
    lines = (f"{sshd.address} {public(sshd)}", f"{name(sshd)} {theirs}")
    write(known_hosts, *lines)
    with pytest.raises(HostKeyRejected, match="HAS CHANGED"):
        reach().run("true")


@pytest.mark.parametrize("names", ["{name}", "*", "[127.0.0.*]:*,other"])
def test_revoked_key_is_refused(
    names: str, reach: Connect, sshd: Sshd, known_hosts: Path
) -> None:
    revoked = f"@revoked {names.format(name=name(sshd))} {public(sshd)}"
    write(known_hosts, f"{name(sshd)} {public(sshd)}", revoked)
    with pytest.raises(HostKeyRejected, match="revoked") as caught:
        reach(accept_new_host_key=True).run("true")
    assert f"{known_hosts}:2" in str(caught.value)


def test_certificate_authority_is_no_host_key(
    reach: Connect, sshd: Sshd, known_hosts: Path
) -> None:
    write(known_hosts, f"@cert-authority * {public(sshd)}")
    with pytest.raises(HostKeyRejected, match="does not check host certificates"):
        reach().run("true")


def test_key_of_port_22_counts_on_other_ports(
    reach: Connect, sshd: Sshd, known_hosts: Path
) -> None:
    write(known_hosts, f"{sshd.address} {public(sshd)}")
    assert reach().run("printf 1").stdout == b"1"


def test_different_key_on_port_22_is_ignored(
    reach: Connect, sshd: Sshd, known_hosts: Path, tmp_path: Path
) -> None:
    theirs = public_half(make_key(tmp_path / "other")).read_text()
    write(known_hosts, f"{sshd.address} {theirs}")
    with pytest.raises(HostKeyRejected, match="not known"):
        reach().run("true")
    assert reach(accept_new_host_key=True).run("printf 1").stdout == b"1"


def test_key_of_another_host_is_refused(
    reach: Connect, sshd: Sshd, known_hosts: Path
) -> None:
    write(
        known_hosts, f"[127.0.0.2]:{sshd.port} {public(sshd)}", f"!*,* {public(sshd)}"
    )
    with pytest.raises(HostKeyRejected, match="not known"):
        reach().run("true")


def test_host_key_alias_selects_known_hosts_name(
    reach: Connect, sshd: Sshd, known_hosts: Path
) -> None:
    write(known_hosts, f"Cluster {public(sshd)}")
    with pytest.raises(HostKeyRejected, match="not known"):
        reach().run("true")
    assert reach(sshd, "HostKeyAlias cluster").run("printf 1").stdout == b"1"


def test_known_hosts_none_stores_no_key(
    connect: Connect, sshd: Sshd, tmp_path: Path
) -> None:
    config = tmp_path / "ssh_config"
    for file in ("/dev/null", "none"):
        config.write_text(
            f"StrictHostKeyChecking no\nUserKnownHostsFile {file}\n"
            f"GlobalKnownHostsFile none\nIdentityFile {sshd.key}\n"
        )
        transport = connect(sshd.destination, config_file=config)
        assert transport.run("printf 1").stdout == b"1"
