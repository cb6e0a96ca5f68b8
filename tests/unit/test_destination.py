"""Destinations: parsed as by tej 0.6, with extensions, and shown without a password."""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tej import RemoteQueue
from tej.config import user_file
from tej.destination import (
    Destination,
    destination_as_string,
    expand_home,
    home_directory,
    local_user,
    parse_ssh_destination,
)
from tej.errors import InvalidDestination
from tej.transport.openssh_config import _files

ME = getpass.getuser()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("127.0.0.1", {"hostname": "127.0.0.1", "username": ME}),
        ("ssh://127.0.0.1", {"hostname": "127.0.0.1", "username": ME}),
        ("127.0.0.1:12", {"hostname": "127.0.0.1", "username": ME, "port": 12}),
        ("ssh://127.0.0.1:12", {"hostname": "127.0.0.1", "username": ME, "port": 12}),
        ("me@host:12", {"hostname": "host", "username": "me", "port": 12}),
        (
            "me:p4$$w0rd@host:12",
            {"hostname": "host", "username": "me", "password": "p4$$w0rd", "port": 12},
        ),
        (
            "ssh://me:p@host:12",
            {"hostname": "host", "username": "me", "password": "p", "port": 12},
        ),
        ("ssh://me@host:22", {"hostname": "host", "username": "me", "port": 22}),
    ],
)
def test_destinations_of_06_parse_equally(text: str, parts: dict[str, object]) -> None:
    assert parse_ssh_destination(text) == parts


@pytest.mark.parametrize(
    "parts",
    [
        {"hostname": "127.0.0.1", "port": 12, "username": "somebody"},
        {"hostname": "127.0.0.1", "port": "12", "username": "somebody"},
        {"hostname": "127.0.0.1", "port": 12, "username": "somebody", "password": "$"},
    ],
)
def test_string_equals_that_of_06_without_password(
    parts: dict[str, object],
) -> None:
    assert destination_as_string(parts) == "ssh://somebody@127.0.0.1:12"


@pytest.mark.parametrize("port", [{}, {"port": 22}, {"port": None}])
def test_port_22_is_omitted(port: dict[str, object]) -> None:
    parts = {"hostname": "host", "username": "me", "password": "pass", **port}
    assert destination_as_string(parts) == "ssh://me@host"


@pytest.mark.parametrize(
    ("text", "destination"),
    [
        ("alias", Destination("alias")),
        ("me@alias", Destination("alias", "me")),
        ("SSH://me@alias/", Destination("alias", "me")),
        (" me@host:2 \n", Destination("host", "me", 2)),
        ("::1", Destination("::1")),
        ("[::1]", Destination("::1")),
        ("me@[::1]:22", Destination("::1", "me", 22)),
        ("me@fe80::1%eth0", Destination("fe80::1%eth0", "me")),
        ("[10.0.0.1]:5", Destination("10.0.0.1", port=5)),
        ("me:pa:ss@host", Destination("host", "me", password="pa:ss")),
        ("me:pa/s s@host", Destination("host", "me", password="pa/s s")),
        ("me:%41@host", Destination("host", "me", password="%41")),
        ("ssh://me:%40%41@host", Destination("host", "me", password="@A")),
        ("ssh://me:100%@host", Destination("host", "me", password="100%")),
        ("ssh://d%c3%b6@host", Destination("host", "dö")),
        ("me:@host", Destination("host", "me", password="")),
    ],
)
def test_destination_is_parsed(text: str, destination: Destination) -> None:
    assert Destination.parse(text) == destination


def test_local_is_this_machine() -> None:
    local = Destination.parse("local:")
    assert local.is_local
    assert str(local) == "local:"
    assert not Destination.parse("local").is_local


@pytest.mark.parametrize(
    "text",
    [
        "", "@host", "me@", ":22", "http://host", "ssh://test@test@host",
        "ssh://host:port", "host:", "host:0", "host:65536", "host:-1", "host:+22",
        "host:22 2", "[::1", "[::1]22", "[::1]:", "::1::2", "a:b:c", "ho st", "host/x",
        "-oProxyCommand=x", "-x@host", "ho;st", "$(id)", "a`b", "me;id@host", "h\0st",
        "me:p@ss@host", "ssh://%ff@host", "ssh://", "local:x",
    ],
)  # fmt: skip
def test_invalid_destination_is_refused(text: str) -> None:
    with pytest.raises(InvalidDestination, match="The form is"):
        Destination.parse(text)


@pytest.mark.parametrize(
    "parts",
    [{}, {"username": "me"}, {"hostname": ""}, {"hostname": 5}]
    + [{"hostname": "host", "port": port} for port in ("x", 0, 70000)],
)  # fmt: skip
def test_invalid_dictionary_is_refused(
    parts: dict[str, object],
) -> None:
    with pytest.raises(InvalidDestination):
        Destination.from_mapping(parts)


SECRETS = ["hunter2secret", "pa ss;secret", "100%secret", "a:secret", "s/ecret"]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(
    "form",
    [
        "me:{}@host:port", "me:{}@ho st", "ssh://me:{}@", "ftp://me:{}@host",
        "x@me:{}@host", "me:{}@host@host", ":{}@host", "me:{}", "ssh://%ff:{}@host",
        "me:{}@[::1", "me:{}@host:99999",
    ],
)  # fmt: skip
def test_no_message_shows_a_password(form: str, secret: str) -> None:
    with pytest.raises(InvalidDestination) as caught:
        Destination.parse(form.format(secret))
    assert secret not in str(caught.value)
    assert caught.value.__cause__ is None


def test_str_and_repr_hide_the_password() -> None:
    destination = Destination("host", "me", password="secret")
    assert "secret" not in f"{destination} {destination!r}"
    assert "secret" not in destination_as_string(destination)


NAMES = st.from_regex(r"[a-zA-Z0-9_][a-zA-Z0-9_.+-]{0,20}", fullmatch=True)
ADDRESSES = st.one_of(
    NAMES.filter(lambda name: name != "local:"),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
)


@given(
    host=ADDRESSES,
    user=st.none() | NAMES,
    port=st.none() | st.integers(1, 65535).filter(lambda port: port != 22),
)
def test_destination_round_trips_through_string(
    host: str, user: str | None, port: int | None
) -> None:
    destination = Destination(host, user, port)
    assert Destination.parse(str(destination)) == destination


@given(st.text())
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        destination = Destination.parse(text)
    except InvalidDestination:
        return
    again = Destination.parse(str(destination))
    assert (again.host, again.user) == (destination.host, destination.user)


@pytest.mark.parametrize(
    "text",
    [
        "x%$(touch f)",
        "x%h",
        "fe80::1%$(id)",
        "fe80::1%eth0;id",
        "::1%\n",
        "-oProxyCommand=id",
        "host\nProxyCommand id",
        "-l@host",
        "me\\@host",
        "me;id@host",
        "me\nx@host",
    ],
)
def test_names_that_openssh_refuses_are_refused(text: str) -> None:
    with pytest.raises(InvalidDestination):
        Destination.parse(text)


@pytest.mark.parametrize(
    ("text", "user"), [("DOM\\user@host", "DOM\\user"), ("u@realm@host", "u@realm")]
)
def test_users_of_domains_and_realms_are_accepted(text: str, user: str) -> None:
    found = Destination.parse(text)
    assert (found.user, found.host) == (user, "host")
    assert Destination.parse(str(found)) == found


def test_user_without_a_name_is_shown_by_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a container with a uid of its own, neither a file nor a variable has a name."""

    def fail() -> str:
        raise KeyError("getpwuid(): uid not found: 54321")

    monkeypatch.setattr(getpass, "getuser", fail)
    assert local_user() == f"uid-{os.getuid()}"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no /etc/passwd")
def test_user_without_a_home_gets_the_root_directory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A container runs with a uid that /etc/passwd does not list, and without HOME."""
    import pwd

    def fail(_uid: int) -> NoReturn:
        raise KeyError("getpwuid(): uid not found: 54321")

    monkeypatch.delenv("HOME")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", fail)
    assert home_directory() == Path("/")
    assert expand_home("~/.ssh/key") == Path("/.ssh/key")
    assert user_file() == Path("/.config/tej/config.toml")
    # ssh gets no option, so that it can report the missing account.
    assert _files(None) == []


def test_tilde_of_an_unknown_user_is_kept() -> None:
    assert expand_home("~no-such-user/key") == Path("~no-such-user/key")
    assert expand_home("key") == Path("key")


def test_variable_that_is_not_set_is_no_destination() -> None:
    with pytest.raises(InvalidDestination, match="not a value of type NoneType"):
        RemoteQueue(os.environ.get("TEJ_NOT_SET"))  # type: ignore[arg-type]
