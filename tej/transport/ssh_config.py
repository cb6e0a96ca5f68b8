"""Reader of `~/.ssh/config`, for the paramiko transport.

paramiko's own reader is not used, because it ignores `Include` and assigns the lines
after an `Include` to the wrong `Host` block.  paramiko's reader also does not support
`%%`, comments at the end of a line, and environment variables.  The tests compare the
reader in this module with `ssh -G`.
"""

from __future__ import annotations

import fnmatch
import getpass
import glob
import logging
import os
import re
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tej.errors import ConnectionFailed

logger = logging.getLogger("tej")

SYSTEM_CONFIG = Path("/etc/ssh/ssh_config")
MAX_DEPTH = 16
DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")
KNOWN_HOSTS = "~/.ssh/known_hosts ~/.ssh/known_hosts2"
GLOBAL_KNOWN_HOSTS = "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"

AUTHENTICATIONS = {
    "pubkeyauthentication": "publickey",
    "passwordauthentication": "password",
    "kbdinteractiveauthentication": "keyboard-interactive",
    "challengeresponseauthentication": "keyboard-interactive",
}
"""Options that can disable a login method, with the method's name in SSH."""
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

# The value of an option in RAW is a command, which may contain spaces, quotes and '#'.
RAW = {"proxycommand"}
LINE = re.compile(r"""\s*"?(\w+)"?(?:\s*=\s*|\s+|$)(.*)""")
# Matches a part of a word, which is in double quotes, in single quotes, or unquoted.
PIECE = re.compile(r""""((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|((?:[^\s"'\\]|\\.)+)""")


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


@dataclass
class _Lookup:
    """Options found so far while the configuration files are read for one host.

    If an option occurs several times, its first value applies.
    """

    given: str
    user: str | None
    port: int | None
    options: dict[str, list[str]] = field(default_factory=dict)
    identities: list[str] = field(default_factory=list)
    certificates: list[str] = field(default_factory=list)
    chosen: list[str] = field(default_factory=list)
    """Options that are set in the user's own files, and not only in the system's."""
    subject: str = ""
    """Host name that the patterns in Host lines are compared with."""
    final: bool = False
    wants_final: bool = False

    def first(self, option: str) -> str | None:
        values = self.options.get(option)
        return values[0] if values else None

    @property
    def host(self) -> str:
        name = self.first("hostname")
        tokens = {"h": self.given}
        return self.given if name is None else _expand(name, tokens)

    @property
    def login(self) -> str:
        return self.user or self.first("user") or getpass.getuser()

    @property
    def number(self) -> str:
        return str(self.port or self.first("port") or 22)

    def tokens(self) -> dict[str, str]:
        """Return the value of each token, such as `h` for `%h`."""
        local = socket.gethostname()
        return {
            "h": self.host,
            "n": self.given,
            "p": self.number,
            "r": self.login,
            "u": getpass.getuser(),
            "d": str(Path.home()),
            "l": local,
            "L": local.partition(".")[0],
            "k": self.first("hostkeyalias") or self.given,
            "i": str(os.getuid()) if hasattr(os, "getuid") else "",
        }


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
    folder = Path.home() / ".ssh"
    files = [(config_file or folder / "config", folder)]
    if config_file is None:
        files.append((SYSTEM_CONFIG, SYSTEM_CONFIG.parent))
    lookup = _Lookup(host, user, port, subject=host)
    for final in (False, True):
        lookup = replace(lookup, final=final)
        for path, beside in files:
            _read(path, beside, lookup, active=True, depth=0)
        if not lookup.wants_final:
            break
        # In the second pass, Host lines are compared with the name set by HostName.
        name = lookup.host.lower()
        lookup.options["hostname"] = [name.replace("%", "%%")]
        lookup.subject = name
    return _result(lookup)


def _read(
    path: Path, folder: Path, lookup: _Lookup, *, active: bool, depth: int
) -> None:
    """Read one configuration file and add its options to `lookup`.

    If `active` is false, no option of the file applies, because the file is included
    in a Host block for other hosts.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        logger.debug("%s is not read: %s", path, error.strerror)
        return
    outer = active
    for number, line in enumerate(text.splitlines(), 1):
        try:
            option, values = _split(line)
        except ValueError as error:
            raise ConnectionFailed(f"{path}:{number}: {error}") from error
        if not option or not values:
            continue
        if option == "host":
            active = outer and _matches(lookup.subject, values)
        elif option == "match":
            active = outer and _match(values, lookup)
        elif option == "include":
            if depth >= MAX_DEPTH:
                raise ConnectionFailed(f"{path}:{number}: too many nested Include")
            for included in _included(values, folder):
                _read(included, folder, lookup, active=active, depth=depth + 1)
        elif active:
            _set(option, values, lookup, f"{path}:{number}")


def _split(line: str) -> tuple[str, list[str]]:
    found = LINE.match(line)
    if not found or line.lstrip().startswith("#"):
        return "", []
    option, rest = found[1].lower(), found[2].strip()
    if option in RAW:
        return option, [rest] if rest else []
    return option, _words(rest)


def _words(text: str) -> list[str]:
    """Split a line into words; removes quotes, and a comment at the end of the line."""
    words: list[str] = []
    position, open_word = 0, False
    while position < len(text):
        if text[position].isspace():
            position, open_word = position + 1, False
            continue
        if text[position] == "#" and not open_word:
            break
        found = PIECE.match(text, position)
        if not found:
            raise ValueError(f"unbalanced quotes in {text!r}")
        inside = next(group for group in found.groups() if group is not None)
        piece = re.sub(r"\\([\"'\\])", r"\1", inside)
        if open_word:
            words[-1] += piece
        else:
            words.append(piece)
        position, open_word = found.end(), True
    return words


def _set(option: str, values: list[str], lookup: _Lookup, where: str) -> None:
    if option in ("identityfile", "certificatefile"):
        files = lookup.identities if option[0] == "i" else lookup.certificates
        if values[0] not in files:
            files.append(values[0])
        return
    if option == "port" and not re.fullmatch(r"[0-9]{1,5}", values[0]):
        raise ConnectionFailed(f"{where}: {values[0]!r} is not a port number")
    if option in ("proxyjump", "proxycommand") and (
        "proxyjump" in lookup.options or "proxycommand" in lookup.options
    ):
        # If both ProxyJump and ProxyCommand are set, only the first one applies.
        return
    if option not in lookup.options and not where.startswith("/etc/"):
        lookup.chosen.append(option)
    lookup.options.setdefault(option, values)


def _included(patterns: Sequence[str], folder: Path) -> Iterator[Path]:
    for pattern in patterns:
        path = Path(_expand(pattern, {})).expanduser()
        # Path.glob does not accept an absolute pattern.
        for name in sorted(glob.glob(str(folder / path))):  # noqa: PTH207
            yield Path(name)


def _matches(text: str, patterns: Sequence[str]) -> bool:
    """Return whether a pattern matches the text, and no negated pattern matches it."""
    positive = False
    for pattern in patterns:
        negated = pattern.startswith("!")
        if wildcard(pattern.removeprefix("!"), text):
            if negated:
                return False
            positive = True
    return positive


def wildcard(pattern: str, text: str) -> bool:
    """Return whether a pattern of ssh matches, with the wildcards `*` and `?` only."""
    expression = fnmatch.translate(pattern.replace("[", "[[]"))
    return re.match(expression, text) is not None


def _match(words: Sequence[str], lookup: _Lookup) -> bool:
    """Return whether all criteria of a Match line are met.

    A criterion that this reader does not know is treated as not met.
    """
    rest = list(words)
    while rest:
        criterion, _, argument = rest.pop(0).partition("=")
        negated, name = criterion.startswith("!"), criterion.lower().removeprefix("!")
        if name == "all":
            met = True
        elif name in ("final", "canonical"):
            lookup.wants_final |= name == "final"
            met = lookup.final
        elif not argument and not rest:
            return False
        else:
            met = _criterion(name, argument or rest.pop(0), lookup)
        if met == negated:
            return False
    return True


def _criterion(name: str, argument: str, lookup: _Lookup) -> bool:
    subjects = {
        # The criteria `host` and `originalhost` ignore case, unlike a Host line.
        "host": lambda: lookup.host.lower(),
        "originalhost": lambda: lookup.given.lower(),
        "user": lambda: lookup.login,
        "localuser": getpass.getuser,
    }
    if name in subjects:
        patterns = argument.lower() if "host" in name else argument
        return _matches(subjects[name](), patterns.split(","))
    if name == "exec":
        shell = os.environ.get("SHELL", "/bin/sh")
        command = _expand(argument, lookup.tokens())
        done = subprocess.run(
            [shell, "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            check=False,
        )
        return done.returncode == 0
    logger.debug("ssh configuration: Match %s is not understood", name)
    return False


def _expand(text: str, tokens: Mapping[str, str]) -> str:
    """Replace `%h`, other tokens and `${VARIABLE}` by their values.

    Unknown tokens and variables are not changed.
    """
    text = re.sub(
        r"%(.)", lambda m: "%" if m[1] == "%" else tokens.get(m[1], m[0]), text
    )
    return re.sub(r"\$\{(\w+)\}", lambda m: os.environ.get(m[1], m[0]), text)


def _result(lookup: _Lookup) -> HostConfig:
    tokens = lookup.tokens()

    def paths(texts: Sequence[str]) -> tuple[Path, ...]:
        names = [_expand(text, tokens) for text in texts if text.lower() != "none"]
        return tuple(Path(name).expanduser() for name in names)

    def yes(option: str) -> bool:
        return (lookup.first(option) or "no").lower() in ("yes", "true")

    def command(option: str) -> str | None:
        value = lookup.first(option)
        none = value is None or value.lower() == "none"
        return None if none else _expand(str(value), tokens)

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
        connect_timeout=_seconds(lookup.first("connecttimeout")),
        identity_agent=lookup.first("identityagent"),
        certificate_files=paths(lookup.certificates),
        set_env=tuple(lookup.options.get("setenv", ())),
        preferred_authentications=tuple(
            name
            for name in (lookup.first("preferredauthentications") or "").split(",")
            if name
        ),
        forbidden_authentications=frozenset(
            method
            for option, method in AUTHENTICATIONS.items()
            if (lookup.first(option) or "yes").lower() in ("no", "false")
        ),
        unsupported=tuple(
            NOT_HONOURED[option] for option in lookup.chosen if option in NOT_HONOURED
        ),
    )


def _seconds(time: str | None) -> float | None:
    """Convert a time in ssh's format, such as 30 or 1m30s, to seconds.

    Returns None if the time is not set, is zero, or has another format.
    """
    if time is None or not re.fullmatch(r"(\d+[smhdw]?)+", time.lower()):
        return None
    units = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
    parts = re.findall(r"(\d+)([smhdw]?)", time.lower())
    return float(sum(int(number) * units[unit] for number, unit in parts)) or None
