"""Private key files: which need a passphrase, and their public keys."""

from __future__ import annotations

import base64
import struct
import sys
from functools import partial
from pathlib import Path

import pytest

from tej.transport.paramiko.identity_files import OPENSSH, is_encrypted, read_identities
from tej.transport.paramiko.key_loading import (
    KeyUnusable,
    load_file,
    load_with_passphrase,
)

PUBLIC = b"\0\0\0\x0bssh-ed25519..."


def openssh_key(cipher: bytes) -> str:
    """Return the beginning of a key in OpenSSH's format, without its secret part."""
    fields = (cipher, b"none", b"")
    data = b"openssh-key-v1\0"
    for field in fields:
        data += struct.pack(">I", len(field)) + field
    data += struct.pack(">II", 1, len(PUBLIC)) + PUBLIC
    text = base64.encodebytes(data).decode()
    return f"{OPENSSH}\n{text}-----END OPENSSH PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("text", "encrypted", "public"),
    [
        (openssh_key(b"none"), False, PUBLIC),
        (openssh_key(b"aes256-ctr"), True, PUBLIC),
        (f"{OPENSSH}\nnot base64", False, None),
        ("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n", True, None),
        ("-----BEGIN ENCRYPTED PRIVATE KEY-----\n", True, None),
        ("-----BEGIN RSA PRIVATE KEY-----\nMII\n", False, None),
    ],
)
def test_key_is_read_without_its_passphrase(
    tmp_path: Path, text: str, encrypted: bool, public: bytes | None
) -> None:
    assert is_encrypted(text) is encrypted
    path = tmp_path / "key"
    path.write_text(text)
    (found,) = read_identities([tmp_path / "missing", path])
    assert (found.path, found.private) == (path, True)
    assert (found.encrypted, found.blob) == (encrypted, public)


def test_public_key_is_read_from_the_file_beside(tmp_path: Path) -> None:
    path, beside = tmp_path / "key", tmp_path / "key.pub"
    public = f"ssh-rsa {base64.b64encode(PUBLIC).decode()} me@lab\n"
    beside.write_text(public)
    (found,) = read_identities([path])
    assert (found.blob, found.private, found.encrypted) == (PUBLIC, False, False)
    path.write_text("-----BEGIN RSA PRIVATE KEY-----\nMII\n")
    (found,) = read_identities([path])
    assert (found.blob, found.private) == (PUBLIC, True)
    # A file IdentityFile may itself be the public key of a key in the agent.
    path.write_text(public)
    (found,) = read_identities([path])
    assert (found.blob, found.private) == (PUBLIC, False)
    # The login tries to load any other file, and reports why it cannot be used.
    putty = "PuTTY-User-Key-File-3: ssh-ed448\n"
    for text in ("", "ssh-rsa", "ssh-rsa !", "\xff", putty):
        path.write_text(text, encoding="latin-1")
        (found,) = read_identities([path])
        assert (found.blob, found.private) == (None, True)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes of files")
def test_only_a_readable_key_gets_advice_about_permissions(tmp_path: Path) -> None:
    prompts: list[str] = []

    def why_unusable(path: Path) -> str:
        def ask(prompt: str) -> str:
            prompts.append(prompt)
            return "right"

        (found,) = read_identities([path])
        load = partial(load_file, path, ())
        with pytest.raises(KeyUnusable) as caught:
            load_with_passphrase(str(path), load, ask, encrypted=found.encrypted)
        return str(caught.value)

    key, notes = tmp_path / "key", tmp_path / "notes"
    key.write_text(openssh_key(b"aes256-ctr"))
    notes.write_text("hello")
    key.chmod(0o644)
    notes.chmod(0o644)
    assert "no private key" in why_unusable(notes)
    assert "chmod" not in why_unusable(tmp_path)
    assert not prompts
    # A file with wrong permissions does not count as a wrong passphrase.
    assert why_unusable(key).endswith(f"(mode 0644); run: chmod 600 {key}")
    assert len(prompts) == 1
