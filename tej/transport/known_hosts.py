"""known_hosts files: read known host keys, and check the key of a server."""

from __future__ import annotations

import base64
import binascii
import enum
import hashlib
import hmac
import logging
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tej.transport.ssh_config_file import wildcard

logger = logging.getLogger("tej")


@dataclass(frozen=True)
class Key:
    """A public key: its type, and its bytes as SSH sends them."""

    type: str
    blob: bytes

    @property
    def fingerprint(self) -> str:
        """The type and the SHA256 fingerprint of the key, such as `ED25519 key
        SHA256:...`."""
        digest = (
            base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")
        )
        name = self.type.removeprefix("ssh-").partition("-")[0].upper()
        return f"{name} key SHA256:{digest}"


@dataclass(frozen=True)
class Entry:
    """A line of a known_hosts file about one host."""

    key: Key
    marker: str
    """Marker of the line: "revoked", "cert-authority", or "" without one."""
    path: Path
    line: int
    elsewhere: bool = False
    """Whether the line is about port 22, although the server uses another port.

    If a line about port 22 has a different key, the server's key counts as unknown, and
    not as changed."""

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


class KeyStatus(enum.Enum):
    """Result of the check of a host key."""

    KNOWN = "known"
    UNKNOWN = "unknown"
    CHANGED = "changed"
    REVOKED = "revoked"


def known_name(host: str, port: int, alias: str | None = None) -> str:
    """Return the name of a server in known_hosts files.

    If `alias` is given, the name is `alias`.  Without an alias, the name is the host
    for port 22, and [host]:port for any other port.
    """
    if alias is not None:
        return alias
    return host.lower() if port == 22 else f"[{host.lower()}]:{port}"


def find(paths: Iterable[Path], name: str, given: str = "") -> list[Entry]:
    """Return all known_hosts lines about the host `name`.

    The lines of the text `given` come first, then those of the files `paths`.  Files
    that cannot be read are skipped.
    """
    entries = [*_entries(Path("known_hosts given"), given, name)]
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            logger.debug("%s cannot be read: %s", path, error.strerror)
            continue
        entries.extend(_entries(path, text, name))
    return entries


def check_key(entries: Sequence[Entry], key: Key) -> tuple[KeyStatus, Entry | None]:
    """Check a host key; returns the result, and the line that determines the result.

    As in OpenSSH, a key is considered unknown, and not changed, if no line has a key of
    the same type.  Lines about port 22 are used only if no line is about the port of
    the server.
    """
    for entry in entries:
        if entry.marker == "revoked" and entry.key.blob == key.blob:
            return KeyStatus.REVOKED, entry
    plain = [entry for entry in entries if not entry.marker]
    here = [entry for entry in plain if not entry.elsewhere]
    for entry in here or plain:
        if entry.key.blob == key.blob:
            return KeyStatus.KNOWN, entry
    for entry in here:
        if entry.key.type == key.type:
            return KeyStatus.CHANGED, entry
    return KeyStatus.UNKNOWN, None


def add_key(path: Path, name: str, key: Key, *, hashed: bool = False) -> None:
    """Append a host key to a known_hosts file.

    If the file does not exist, it is created so that only its owner can read it.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    host = _hash(name, os.urandom(20)) if hashed else name
    line = f"{host} {key.type} {base64.b64encode(key.blob).decode()}\n".encode()
    try:
        with path.open("rb") as file:
            # Add a newline first if the last line of the file does not end with one.
            file.seek(-1, os.SEEK_END)
            if file.read(1) not in (b"\n", b""):
                line = b"\n" + line
    except OSError:
        logger.debug("%s is new or empty", path)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "ab") as file:
        file.write(line)


def _entries(path: Path, text: str, name: str) -> Iterator[Entry]:
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        marker = words.pop(0)[1:] if words[0].startswith("@") else ""
        if len(words) < 3 or not _about(words[0], name):
            continue
        try:
            blob = base64.b64decode(words[2])
        except binascii.Error:
            logger.debug("%s:%d: not a key", path, number)
            continue
        yield Entry(Key(_type(blob) or words[1], blob), marker, path, number)


def _type(blob: bytes) -> str:
    """Return the type of a key from the key's own bytes.

    The type in the line of the known_hosts file may be wrong.
    """
    if len(blob) < 4:
        return ""
    (size,) = struct.unpack(">I", blob[:4])
    return blob[4 : 4 + size].decode("ascii", "replace")


def _about(names: str, name: str) -> bool:
    if names.startswith("|1|"):
        try:
            salt = base64.b64decode(names.split("|")[2])
        except (binascii.Error, IndexError):
            return False
        return hmac.compare_digest(names.encode(), _hash(name, salt).encode())
    found = False
    for pattern in names.split(","):
        if wildcard(pattern.removeprefix("!").lower(), name.lower()):
            if pattern.startswith("!"):
                return False
            found = True
    return found


def _hash(name: str, salt: bytes) -> str:
    digest = hmac.new(salt, name.encode(), "sha1").digest()
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"
