"""Key files of SSH: read the public key, and whether the private key is encrypted."""

from __future__ import annotations

import base64
import binascii
import contextlib
import logging
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tej.transport.putty_key import putty_key_problem

logger = logging.getLogger("tej")

OPENSSH = "-----BEGIN OPENSSH PRIVATE KEY-----"
MAGIC = b"openssh-key-v1\0"


@dataclass(frozen=True)
class Identity:
    """A key file of SSH, private or public."""

    path: Path
    blob: bytes | None
    """The public key as SSH sends it.

    The value is None if neither the key file nor a `.pub` file beside it contains the
    public key in readable form."""
    encrypted: bool
    private: bool
    """Whether the login loads the file.

    A file with only a public key is not loaded, but selects a key of the agent."""


def read_identities(paths: Iterable[Path]) -> list[Identity]:
    """Read key files; skips files that do not exist.

    A file that cannot be read, or that contains no key, counts as a private key, so
    that the login reports why the file cannot be used (`key_loading.py`).
    """
    found = (_read(path) for path in paths)
    return [identity for identity in found if identity is not None]


def _read(path: Path) -> Identity | None:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        logger.debug("%s cannot be read: %s", path, error.strerror)
        beside = _public(path.with_name(path.name + ".pub"))
        exists = not isinstance(error, FileNotFoundError | NotADirectoryError)
        if not exists and beside is None:
            return None
        return Identity(path, beside, encrypted=False, private=exists)
    if OPENSSH in text:
        encrypted, blob = _openssh(text)
        return Identity(path, blob, encrypted=encrypted, private=True)
    if "PRIVATE KEY-----" in text:
        blob = _public(path.with_name(path.name + ".pub"))
        return Identity(path, blob, encrypted=is_encrypted(text), private=True)
    blob = None if putty_key_problem(path) else _public(path)
    return Identity(path, blob, encrypted=False, private=blob is None)


def is_encrypted(key: str) -> bool:
    """Return whether the private key in the text `key` needs a passphrase."""
    return _openssh(key)[0] if OPENSSH in key else "ENCRYPTED" in key


def _public(path: Path) -> bytes | None:
    with contextlib.suppress(OSError, IndexError, binascii.Error, UnicodeDecodeError):
        return base64.b64decode(path.read_text(encoding="utf-8").split()[1]) or None
    return None


def _openssh(text: str) -> tuple[bool, bytes | None]:
    """Parse a private key in OpenSSH's own format.

    Returns whether the key is encrypted, and the public key.
    """
    body = text.partition(OPENSSH)[2].partition("-----")[0]
    with contextlib.suppress(binascii.Error, struct.error):
        rest = base64.b64decode(body).removeprefix(MAGIC)
        cipher, rest = _string(rest)
        _, rest = _string(rest)
        _, rest = _string(rest)
        return cipher != b"none", _string(rest[4:])[0]
    return False, None


def _string(data: bytes) -> tuple[bytes, bytes]:
    (size,) = struct.unpack(">I", data[:4])
    return data[4 : 4 + size], data[4 + size :]
