"""Destination of a connection: parse `user@host:port`, and hide the password."""

from __future__ import annotations

import getpass
import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote

from tej.errors import InvalidDestination

__all__ = ["Destination", "destination_as_string", "parse_ssh_destination"]

LOCAL = "local:"
DEFAULT_PORT = 22

# Like OpenSSH, tej refuses a host name with characters that are special to the shell of
# a ProxyCommand or to an option parser.  '%' is refused because ssh expands %h in a
# host name.
UNSAFE_HOST = re.compile(r"""[\s\x00-\x1f\x7f'"`$\\;&<>|(){},/@%]|^-""")
# A login name may contain a backslash, which separates a Windows domain from the user,
# and '@', which separates the user from a realm.
UNSAFE_USER = re.compile(r"""[\s\x00-\x1f\x7f'"`$;&<>|(){},/]|^-|\\$""")
ZONE = re.compile(r"[A-Za-z0-9._~-]+")
SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")


@dataclass(frozen=True)
class Destination:
    """The machine on which jobs run: a host reached over SSH, or this one (`local:`).

    If a part is None, its value is taken from `~/.ssh/config`, or else from the
    defaults of ssh.  `host` may be an alias from `~/.ssh/config`.  `str()` and `repr()`
    of a destination do not contain the password.  The constructor raises
    InvalidDestination if a part is invalid.
    """

    host: str
    user: str | None = None
    port: int | None = None
    password: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.is_local:
            return
        if not _is_ipv6(self.host) and (
            not self.host or ":" in self.host or UNSAFE_HOST.search(self.host)
        ):
            raise InvalidDestination(f"Invalid host name: {self.host!r}")
        if self.user is not None and (not self.user or UNSAFE_USER.search(self.user)):
            raise InvalidDestination(
                f"Invalid user name for host {self.host!r}: the name is empty, or "
                "contains a character that is not allowed"
            )
        if self.port is not None and not 0 < self.port < 65536:
            raise InvalidDestination(
                f"Invalid port for host {self.host!r}: {self.port}; "
                "a port is a number from 1 to 65535"
            )

    @property
    def is_local(self) -> bool:
        """Whether jobs run on this machine, without SSH."""
        return self.host == LOCAL

    @classmethod
    def parse(cls, text: str) -> Destination:
        """Parse `[ssh://][user[:password]@]host[:port]`, or `local:`.

        An IPv6 address needs brackets if a port follows.  With `ssh://`, the user and
        the password are percent-decoded; without `ssh://`, they are used unchanged.
        `DOMAIN\\user@host` and `user@realm@host` are accepted, as by ssh.  Raises
        InvalidDestination if `text` is not a destination.
        """
        if text.strip() == LOCAL:
            return cls(LOCAL)
        rest = text.strip()
        scheme = SCHEME.match(rest)
        if scheme:
            if scheme[1].lower() != "ssh":
                raise _invalid(text, f"{scheme[1]}:// is not ssh://")
            rest = rest[scheme.end() :].removesuffix("/")
        login, at, address = rest.rpartition("@")
        if "@" in login and (scheme or ":" in login):
            # Two '@' are refused: if one of them belonged to the password, a part of
            # the password would be used as the host name, and appear in messages.
            raise _invalid(text, "more than one '@'; use ssh:// with %40 for '@'")
        user, password = _login(text, login, decode=bool(scheme)) if at else (None,) * 2
        host, port = _address(text, address)
        try:
            return cls(host, user, port, password)
        except InvalidDestination as error:
            raise _invalid(text, str(error)) from None

    @classmethod
    def from_mapping(cls, parts: Mapping[str, object]) -> Destination:
        """Parse a dictionary, which tej 0.6 accepted instead of a string.

        Raises InvalidDestination if a part is missing or invalid.
        """
        if not isinstance(parts, Mapping):
            raise InvalidDestination(
                "A destination is a string such as 'user@host' or 'local:', not "
                f"a value of type {type(parts).__name__}"
            )
        host = parts.get("hostname")
        if not isinstance(host, str) or not host:
            raise InvalidDestination("destination dictionary is missing hostname")
        user, password = parts.get("username"), parts.get("password")
        port = parts.get("port")
        try:
            number = None if port is None else int(str(port))
        except ValueError:
            raise InvalidDestination(
                f"Invalid port for host {host!r}: not a number"
            ) from None
        return cls(
            host,
            None if user is None else str(user),
            number,
            None if password is None else str(password),
        )

    def __str__(self) -> str:
        """Return the destination in a form that `parse` accepts, without password."""
        if self.is_local:
            return LOCAL
        user = "" if self.user is None else quote(self.user, safe="") + "@"
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port in (None, DEFAULT_PORT) else f":{self.port}"
        return f"ssh://{user}{host}{port}"


def local_user() -> str:
    """Return the name of the user, or `uid-N` if the user N has no name.

    A container may run with a uid that its /etc/passwd does not list.
    """
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        # Windows has neither the module `pwd` nor `getuid`.
        return f"uid-{os.getuid()}" if hasattr(os, "getuid") else "unknown"


def home_directory() -> Path:
    """Return the user's home directory, or / for a user that has none.

    In a container or a service, $HOME may be unset and /etc/passwd may not list the
    uid. Docker gives such a user the home directory /, too.
    """
    try:
        return Path.home()
    except (KeyError, RuntimeError):
        return Path("/")


def expand_home(path: str) -> Path:
    """Return a path with `~` and `~NAME` expanded; an unknown NAME stays as it is."""
    first, *rest = Path(path).parts or ("",)
    if first == "~":
        return home_directory().joinpath(*rest)
    try:
        return Path(path).expanduser()
    except (KeyError, RuntimeError):
        return Path(path)


def parse_ssh_destination(destination: str) -> dict[str, str | int]:
    """Return the parts of a destination as a dictionary, with the keys of tej 0.6.

    The key `username` is always present.  Raises InvalidDestination if `destination` is
    not a destination.
    """
    parsed = Destination.parse(destination)
    user = local_user() if parsed.user is None else parsed.user
    parts: dict[str, str | int] = {"hostname": parsed.host, "username": user}
    if parsed.password is not None:
        parts["password"] = parsed.password
    if parsed.port is not None:
        parts["port"] = parsed.port
    return parts


def destination_as_string(destination: Destination | Mapping[str, object]) -> str:
    """Return `ssh://user@host[:port]`; unlike in tej 0.6, without the password."""
    if isinstance(destination, Destination):
        return str(destination)
    return str(Destination.from_mapping(destination))


def _login(text: str, login: str, *, decode: bool) -> tuple[str, str | None]:
    user, colon, password = login.partition(":")
    if decode:
        try:
            user = unquote(user, errors="strict")
            password = unquote(password, errors="strict")
        except UnicodeDecodeError:
            raise _invalid(text, "its percent-encoding is not UTF-8") from None
    if not user:
        raise _invalid(text, "there is no user name before '@'")
    return user, password if colon else None


def _address(text: str, address: str) -> tuple[str, int | None]:
    if address.startswith("["):
        host, bracket, port = address[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise _invalid(text, "write an IPv6 address as [::1] or [::1]:22")
        port = port.removeprefix(":") if port else ""
        return host, _port(text, port) if len(address) > len(host) + 2 else None
    if _is_ipv6(address):
        return address, None
    host, colon, port = address.partition(":")
    if not host:
        raise _invalid(text, "there is no host name")
    return host, _port(text, port) if colon else None


def _port(text: str, port: str) -> int:
    # The message does not contain the port, because the port may be a password: in
    # `user:password`, the part "@host" may be missing.
    if not re.fullmatch(r"[0-9]{1,5}", port):
        raise _invalid(text, "the port has to be a number from 1 to 65535")
    return int(port)


def _is_ipv6(host: str) -> bool:
    address, percent, zone = host.partition("%")
    if percent and not ZONE.fullmatch(zone):
        return False
    try:
        ipaddress.IPv6Address(address)
    except ValueError:
        return False
    return True


def _invalid(text: str, why: str) -> InvalidDestination:
    return InvalidDestination(
        f"Invalid destination {_masked(text)!r}: {why}. "
        "The form is [user@]host[:port] or local:"
    )


def _masked(text: str) -> str:
    """Return the text with each part that could be a password replaced by `***`."""
    scheme = SCHEME.match(text)
    start = scheme.end() if scheme else 0
    login, at, address = text[start:].rpartition("@")
    user, colon, _ = login.partition(":")
    host = re.sub(r"(?<!\]):(?![0-9]+$)[^\]]*$", ":***", address)
    return text[:start] + user + (":***" if colon else "") + at + host
