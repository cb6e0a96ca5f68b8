"""known_hosts files: which lines are about a server, and what they say about a key."""

from __future__ import annotations

import base64
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from tej.transport.known_hosts import (
    Entry,
    Key,
    KeyStatus,
    add_key,
    check_key,
    find,
    known_name,
)


def make_key(secret: str, kind: str = "ssh-ed25519") -> Key:
    blob = struct.pack(">I", len(kind)) + kind.encode() + secret.encode()
    return Key(kind, blob)


def line(names: str, key: Key, kind: str = "") -> str:
    return f"{names} {kind or key.type} {base64.b64encode(key.blob).decode()}"


ONE, TWO, RSA = make_key("1"), make_key("2"), make_key("3", "ssh-rsa")
HOST = Entry(ONE, "", Path("known_hosts"), 1)


def test_name_contains_an_unusual_port() -> None:
    assert known_name("Lab", 22) == "lab"
    assert known_name("Lab", 23) == "[lab]:23"
    assert known_name("Lab", 23, "alias") == "alias"


def test_lines_about_a_host_are_found(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    lines = [
        *("", "# lab", "lab ssh-rsa", line("other", TWO), "lab ssh-rsa A"),
        line("@revoked *", TWO),
        # The type in the line may be wrong, but not the type in the key.
        f"{line('x,LAB', ONE, 'ssh-dss')} me@home",
        line("l?b,!la*", TWO),
        f"lab ssh-dss {base64.b64encode(b'abc').decode()}",
    ]
    file.write_text("\n".join(lines))
    found = find([tmp_path / "gone", file], "lab", line("lab", RSA))
    assert found == [
        Entry(RSA, "", Path("known_hosts given"), 1),
        Entry(TWO, "revoked", file, 6),
        Entry(ONE, "", file, 7),
        Entry(Key("ssh-dss", b"abc"), "", file, 9),
    ]
    assert str(found[1]) == f"{file}:6"


def test_hashed_name_matches_only_its_host(tmp_path: Path) -> None:
    file = tmp_path / "new/known_hosts"
    add_key(file, "lab", ONE, hashed=True)
    assert "lab" not in file.read_text()
    assert [entry.key for entry in find([file], "lab")] == [ONE]
    assert find([file], "lap") == []
    file.write_text(f"{line('|1|', ONE)}\n{line('|1|a|', ONE)}")
    assert find([file], "lab") == []


@pytest.mark.parametrize(
    ("before", "between"), [("", ""), ("# mine\n", ""), ("# mine", "\n")]
)
def test_added_key_is_a_line_of_its_own(
    before: str, between: str, tmp_path: Path
) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(before)
    add_key(file, "lab", ONE)
    assert file.read_text() == f"{before}{between}{line('lab', ONE)}\n"


def test_new_file_is_private(tmp_path: Path) -> None:
    file = tmp_path / "a/ssh/known_hosts"
    for key in (ONE, TWO):
        add_key(file, "lab", key)
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (
        *(0o600, 0o700),
    )


REVOKED = replace(HOST, marker="revoked", line=2)
AUTHORITY = replace(HOST, marker="cert-authority")
ELSEWHERE = replace(HOST, elsewhere=True)


@pytest.mark.parametrize(
    ("entries", "key", "status", "entry"),
    [
        ([], ONE, KeyStatus.UNKNOWN, None),
        ([HOST], ONE, KeyStatus.KNOWN, HOST),
        ([HOST], TWO, KeyStatus.CHANGED, HOST),
        ([HOST], RSA, KeyStatus.UNKNOWN, None),
        ([HOST, REVOKED], ONE, KeyStatus.REVOKED, REVOKED),
        ([HOST, REVOKED], TWO, KeyStatus.CHANGED, HOST),
        ([REVOKED], TWO, KeyStatus.UNKNOWN, None),
        ([AUTHORITY], ONE, KeyStatus.UNKNOWN, None),
        ([AUTHORITY], TWO, KeyStatus.UNKNOWN, None),
        ([ELSEWHERE], ONE, KeyStatus.KNOWN, ELSEWHERE),
        ([ELSEWHERE], TWO, KeyStatus.UNKNOWN, None),
        ([replace(HOST, key=TWO), ELSEWHERE], ONE, KeyStatus.CHANGED, None),
        ([replace(HOST, key=TWO), HOST], ONE, KeyStatus.KNOWN, HOST),
        ([replace(HOST, key=RSA), ELSEWHERE], ONE, KeyStatus.UNKNOWN, None),
    ],
)
def test_key_is_compared_with_the_lines(
    entries: list[Entry], key: Key, status: KeyStatus, entry: Entry | None
) -> None:
    found = check_key(entries, key)
    assert found == (status, entry or (entries[0] if found[1] else None))
    assert (found[1] is None) == (status is KeyStatus.UNKNOWN)


def test_fingerprint_is_that_of_ssh_keygen() -> None:
    # The expected text is the output of `ssh-keygen -l` for this key.
    text = "AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
    key = Key("ssh-ed25519", base64.b64decode(text))
    fingerprint = "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"
    assert key.fingerprint == f"ED25519 key {fingerprint}"
    assert Key("ecdsa-sha2-nistp256", b"").fingerprint.startswith("ECDSA key SHA256:")
