"""Options of `~/.ssh/config` for one host, as the paramiko transport uses them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tej.destination import expand_home, home_directory
from tej.transport.ssh_config_file import Lookup, expand, read_aliases, read_file

SYSTEM_CONFIG = Path("/etc/ssh/ssh_config")
DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")
KNOWN_HOSTS = "~/.ssh/known_hosts ~/.ssh/known_hosts2"
GLOBAL_KNOWN_HOSTS = "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"

AUTHENTICATIONS = {
    "pubkeyauthentication": "publickey",
    "passwordauthentication": "password",
    "kbdinteractiveauthentication": "keyboard-interactive",
    "challengeresponseauthentication": "keyboard-interactive",
}
"""The name in SSH of the login method that an option of ssh_config can disable."""
NOT_HONOURED = {
    name.lower(): name
    for names in (
        "BindAddress BindInterface CanonicalizeHostname Ciphers CASignatureAlgorithms",
        "HostbasedAuthentication HostKeyAlgorithms KexAlgorithms",
        "KnownHostsCommand MACs PKCS11Provider ProxyUseFdpass",
        "PubkeyAcceptedAlgorithms SecurityKeyProvider",
    )
    for name in names.split()
}
"""Options that affect how ssh connects, but that the paramiko transport ignores."""


@dataclass(frozen=True)
class HostConfig:
    """The options that apply to one host."""

    host: str
    """Host name or address to connect to (HostName)."""
    port: int
    user: str
    identity_files: tuple[Path, ...]
    identities_chosen: bool
    """Whether `identity_files` are set in the configuration; False for the default."""
    identities_only: bool
    proxy_jump: str | None
    proxy_command: str | None
    known_hosts_files: tuple[Path, ...]
    """The user's known_hosts files; a new host key is added to the first of them."""
    global_known_hosts_files: tuple[Path, ...]
    host_key_alias: str | None
    accept_new_host_key: bool
    hash_known_hosts: bool
    address_family: str
    connect_timeout: float | None
    identity_agent: str | None
    certificate_files: tuple[Path, ...]
    set_env: tuple[str, ...]
    preferred_authentications: tuple[str, ...]
    """Login methods in the order of PreferredAuthentications; empty if not set."""
    forbidden_authentications: frozenset[str]
    unsupported: tuple[str, ...]
    """Options that are set in the user's files, but that the paramiko transport
    ignores."""

    @property
    def where(self) -> str:
        """Name of the server in messages."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.user}@{host}:{self.port}"


def look_up(
    host: str,
    user: str | None = None,
    port: int | None = None,
    *,
    config_file: Path | None = None,
) -> HostConfig:
    """Return the options for a host from the user's and the system's ssh configuration.

    `config_file` replaces both configurations.  `user` and `port` take precedence over
    the configuration, as on ssh's command line.  Raises ConnectionFailed if a value is
    invalid; the message contains the file and the line.
    """
    folder = home_directory() / ".ssh"
    files = [(config_file or folder / "config", folder)]
    if config_file is None:
        files.append((SYSTEM_CONFIG, SYSTEM_CONFIG.parent))
    lookup = Lookup(host, user, port, subject=host)
    for final in (False, True):
        lookup = replace(lookup, final=final)
        for path, beside in files:
            read_file(path, beside, lookup, active=True, depth=0)
        if not lookup.wants_final:
            break
        # In the second pass, Host lines are compared with the name set by HostName.
        name = lookup.host.lower()
        lookup.options["hostname"] = [name.replace("%", "%%")]
        lookup.subject = name
    return _result(lookup)


def host_aliases() -> set[str]:
    """Return the aliases in the user's and the system's ssh configuration."""
    folder = home_directory() / ".ssh"
    return read_aliases(
        [(folder / "config", folder), (SYSTEM_CONFIG, SYSTEM_CONFIG.parent)]
    )


def _result(lookup: Lookup) -> HostConfig:
    tokens = lookup.tokens()

    def paths(texts: Sequence[str]) -> tuple[Path, ...]:
        names = [expand(text, tokens) for text in texts if text.lower() != "none"]
        return tuple(expand_home(name) for name in names)

    def yes(option: str) -> bool:
        return (lookup.first(option) or "no").lower() in ("yes", "true")

    def command(option: str) -> str | None:
        value = lookup.first(option)
        none = value is None or value.lower() == "none"
        return None if none else expand(str(value), tokens)

    usual = [f"~/.ssh/{name}" for name in DEFAULT_KEYS]
    strict = (lookup.first("stricthostkeychecking") or "ask").lower()
    return HostConfig(
        host=lookup.host,
        port=int(lookup.number),
        user=lookup.login,
        identity_files=paths(lookup.identities or usual),
        identities_chosen=bool(lookup.identities),
        identities_only=yes("identitiesonly"),
        proxy_jump=command("proxyjump"),
        proxy_command=command("proxycommand"),
        known_hosts_files=paths(
            lookup.options.get("userknownhostsfile", KNOWN_HOSTS.split())
        ),
        global_known_hosts_files=paths(
            lookup.options.get("globalknownhostsfile", GLOBAL_KNOWN_HOSTS.split())
        ),
        host_key_alias=lookup.first("hostkeyalias"),
        accept_new_host_key=strict in ("accept-new", "no", "off", "false"),
        hash_known_hosts=yes("hashknownhosts"),
        address_family=(lookup.first("addressfamily") or "any").lower(),
        connect_timeout=parse_time(lookup.first("connecttimeout")),
        identity_agent=lookup.first("identityagent"),
        certificate_files=paths(lookup.certificates),
        set_env=tuple(lookup.options.get("setenv", ())),
        preferred_authentications=_preferred_methods(lookup),
        forbidden_authentications=_forbidden_methods(lookup),
        unsupported=tuple(
            NOT_HONOURED[option] for option in lookup.chosen if option in NOT_HONOURED
        ),
    )


def _preferred_methods(lookup: Lookup) -> tuple[str, ...]:
    names = (lookup.first("preferredauthentications") or "").split(",")
    return tuple(name for name in names if name)


def _forbidden_methods(lookup: Lookup) -> frozenset[str]:
    """Return the login methods that options like PasswordAuthentication disable."""
    return frozenset(
        method
        for option, method in AUTHENTICATIONS.items()
        if (lookup.first(option) or "yes").lower() in ("no", "false")
    )


def parse_time(time: str | None) -> float | None:
    """Convert a time in ssh's format, such as 30 or 1m30s, to seconds.

    Returns None if the time is not set, is zero, or has another format.
    """
    if time is None or not re.fullmatch(r"(\d+[smhdw]?)+", time.lower()):
        return None
    units = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
    parts = re.findall(r"(\d+)([smhdw]?)", time.lower())
    return float(sum(int(number) * units[unit] for number, unit in parts)) or None
