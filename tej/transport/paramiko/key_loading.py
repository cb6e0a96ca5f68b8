"""Private keys and certificates for paramiko, read from files or text.

The error KeyUnusable says why a key cannot be used, for example because of its format.
"""

from __future__ import annotations

import base64
import contextlib
import io
import logging
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tej.transport.prompts import PROMPTS, Ask
from tej.transport.putty_key import CONVERT, MAGIC, putty_key_problem

logger = logging.getLogger("tej")


class KeyUnusable(Exception):
    """A private key cannot be read, or no correct passphrase is available."""


def load_with_passphrase(
    name: str,
    load: Callable[[str | None], paramiko.PKey],
    ask: Ask | None,
    *,
    encrypted: bool,
) -> paramiko.PKey:
    """Return the key that `load` reads; prompt for the passphrase of an encrypted key.

    `name` is the name of the key in prompts and messages.  Raises KeyUnusable if the
    key cannot be used.
    """
    try:
        if not encrypted:
            return load(None)
        if ask is None:
            raise KeyUnusable(
                f"{name} has a passphrase and tej cannot prompt here: use ssh-add"
            )
        for _ in range(PROMPTS):
            passphrase = ask(f"Passphrase for {name}: ")
            if not passphrase:
                break
            try:
                return load(passphrase)
            except ValueError:
                logger.debug("%s: wrong passphrase", name)
        raise KeyUnusable(f"no correct passphrase for {name} was given")
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyUnusable(f"{name} cannot be used: {error}") from error
    except paramiko.SSHException as error:
        raise KeyUnusable(f"{name} cannot be used: {error}") from error


def load_file(
    path: Path, certificates: Sequence[Path], passphrase: str | None
) -> paramiko.PKey:
    """Load a private key file, and its certificate if there is one.

    The certificate is one of `certificates`, or is in a file beside the key file.
    """
    if problem := putty_key_problem(path):
        raise ValueError(problem)
    data = path.read_bytes()
    _require_key(data)
    # The permissions are checked only now, because they do not matter for a file
    # without a key, such as /dev/null.
    _require_private(path)
    key = parse_key(data, passphrase)
    for certificate in (*certificates, path.with_name(path.name + "-cert.pub")):
        # A file of CertificateFile may belong to another key, so compare the public key
        # with the one in the certificate.
        with contextlib.suppress(OSError, ValueError, paramiko.SSHException):
            key.load_certificate(str(certificate))
            if _fields(key) in _certified(certificate):
                return key
    key.public_blob = None
    return key


def _require_private(path: Path) -> None:
    """Raise KeyUnusable if other users can read a key file, as ssh refuses it, too.

    Not a ValueError, which would count as a wrong passphrase.
    """
    if sys.platform == "win32":
        return
    found = path.stat()
    if found.st_uid == os.getuid() and found.st_mode & 0o077:
        raise KeyUnusable(
            f"{path} cannot be used: other users can read it "
            f"(mode {found.st_mode & 0o777:04o}); run: "
            f"chmod 600 {shlex.quote(str(path))}"
        )


def _fields(key: paramiko.PKey) -> bytes:
    """Return the part of a public key that a certificate of this key also contains."""
    blob = key.asbytes()
    return blob[4 + int.from_bytes(blob[:4], "big") :]


def _certified(certificate: Path) -> bytes:
    """Return the binary content of a certificate file."""
    return base64.b64decode(certificate.read_text(encoding="utf-8").split()[1])


def _require_key(data: bytes) -> None:
    """Raise ValueError if the content of a key file is no private key of OpenSSH."""
    if b"PRIVATE KEY-----" not in data:
        raise ValueError(
            CONVERT.format("FILE")
            if data.startswith(MAGIC)
            else "it contains no private key in a format of OpenSSH"
        )


def parse_key(data: bytes, passphrase: str | None) -> paramiko.PKey:
    """Parse a private key in any format that OpenSSH reads or writes."""
    _require_key(data)
    secret = None if passphrase is None else passphrase.encode()
    if b"OPENSSH PRIVATE KEY" in data:
        private = serialization.load_ssh_private_key(data, secret)
    else:
        private = serialization.load_pem_private_key(data, secret)  # type: ignore[assignment]
    kinds: list[tuple[type, type[paramiko.PKey]]] = [
        (rsa.RSAPrivateKey, paramiko.RSAKey),
        (ec.EllipticCurvePrivateKey, paramiko.ECDSAKey),
        (ed25519.Ed25519PrivateKey, paramiko.Ed25519Key),
    ]
    for kind, make in kinds:
        if isinstance(private, kind):
            text = private.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.OpenSSH,
                serialization.NoEncryption(),
            )
            return make.from_private_key(io.StringIO(text.decode()))
    raise ValueError("tej does not support this type of key")
