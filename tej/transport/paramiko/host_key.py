"""Host key verification with paramiko, for the server and for each jump host."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Sequence
from dataclasses import replace

import paramiko

from tej.errors import HostKeyRejected
from tej.transport.known_hosts import (
    Entry,
    Key,
    KeyStatus,
    add_key,
    check_key,
    find,
    known_name,
)
from tej.transport.paramiko.failures import translating_errors
from tej.transport.ssh_config import HostConfig

logger = logging.getLogger("tej")

RSA = ("rsa-sha2-512", "rsa-sha2-256")


def order_key_types(
    options: paramiko.transport.SecurityOptions, entries: Sequence[Entry]
) -> None:
    """Prefer the types of the keys that known_hosts has for the server.

    With another order, the server might send a key of a type that is not in
    known_hosts.
    """
    known = {entry.key.type for entry in entries if not entry.marker}
    if "ssh-rsa" in known:
        known.update(RSA)
    options.key_types = sorted(options.key_types, key=lambda name: name not in known)


def check_host_key(
    transport: paramiko.Transport,
    config: HostConfig,
    entries: Sequence[Entry],
    *,
    accept: bool,
) -> None:
    """Check the host key of the server against `entries`, its lines in known_hosts.

    Raises HostKeyRejected if the key is revoked or has changed.  An unknown key
    is added to known_hosts if `accept` is true; if not, raises HostKeyRejected.
    """
    where = config.where
    with translating_errors(where):
        theirs = transport.get_remote_server_key()
    key = Key(theirs.get_name(), theirs.asbytes())
    options = transport.get_security_options()
    status, entry = check_key(
        [e for e in entries if e.marker or _is_supported(e, options)], key
    )
    if status is KeyStatus.KNOWN:
        return
    if status is KeyStatus.REVOKED:
        raise HostKeyRejected(
            f"{where} has a revoked host key, {key.fingerprint}: {entry}. "
            "Do not connect; ask the server's administrator"
        )
    if status is KeyStatus.CHANGED and entry is not None:
        raise HostKeyRejected(_changed(where, config, key, entry))
    if not accept:
        raise HostKeyRejected(_unknown(where, config, key, entries))
    _accept(config, key)


def _name(config: HostConfig) -> str:
    return known_name(config.host, config.port, config.host_key_alias)


def known_entries(config: HostConfig, given: str = "") -> list[Entry]:
    """Return the known_hosts lines about a server, from `given` and from the files."""
    files = [*config.known_hosts_files, *config.global_known_hosts_files]
    entries = find(files, _name(config), given)
    if config.host_key_alias is None and config.port != 22:
        # As in OpenSSH, the key for port 22 is also accepted for other ports of a host.
        bare = find(files, config.host.lower(), given)
        entries += [replace(entry, elsewhere=True) for entry in bare]
    return entries


def _is_supported(entry: Entry, options: paramiko.transport.SecurityOptions) -> bool:
    """Return whether paramiko supports the key type in a line of known_hosts."""
    return entry.key.type == "ssh-rsa" or entry.key.type in options.key_types


def _accept(config: HostConfig, key: Key) -> None:
    logger.info("New host key accepted for %s: %s", config.host, key.fingerprint)
    if config.known_hosts_files:
        path = config.known_hosts_files[0]
        try:
            add_key(path, _name(config), key, hashed=config.hash_known_hosts)
        except OSError as error:
            raise HostKeyRejected(
                f"The host key of {config.host} cannot be written to {path}: "
                f"{error.strerror}"
            ) from error


def _unknown(where: str, config: HostConfig, key: Key, entries: Sequence[Entry]) -> str:
    certified = next((e for e in entries if e.marker == "cert-authority"), None)
    hint = ""
    if certified:
        hint = (
            f" (the paramiko transport does not check host certificates: {certified}; "
            "the openssh transport does)"
        )
    return (
        f"The host key of {where} is not known{hint}: {key.fingerprint}. "
        "Compare this key with the key from the server's administrator, then accept "
        f"the key: --accept-new-host-key, or {_scan(config, key)}"
    )


def _scan(config: HostConfig, key: Key) -> str:
    behind = config.proxy_jump or config.proxy_command or config.host_key_alias
    if behind or not config.known_hosts_files:
        return (
            f"ssh -p {config.port} {shlex.quote(f'{config.user}@{config.host}')} true"
        )
    kind = key.type.removeprefix("ssh-").partition("-")[0]
    path = shlex.quote(str(config.known_hosts_files[0]))
    port = "" if config.port == 22 else f"-p {config.port} "
    return f"ssh-keyscan -t {kind} {port}{shlex.quote(config.host)} >> {path}"


def _changed(where: str, config: HostConfig, key: Key, entry: Entry) -> str:
    remove = (
        f"ssh-keygen -f {shlex.quote(str(entry.path))} -R {shlex.quote(_name(config))}"
    )
    return (
        f"THE HOST KEY OF {where} HAS CHANGED. Somebody may be intercepting the "
        "connection, or the server was reinstalled. "
        f"Expected: {entry.key.fingerprint} ({entry}); got: {key.fingerprint}. "
        f"If you know that the new key is right: {remove}"
    )
