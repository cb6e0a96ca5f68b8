"""Cycles of jump hosts, which `ssh` itself does not detect."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tej.errors import ConnectionFailed
from tej.transport import openssh_config
from tej.transport.openssh_config import check_jumps


@pytest.fixture
def jumps(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return the value of ProxyJump of each host, which the test sets."""
    found: dict[str, str] = {}

    def read_query(command: tuple[str, ...], host: str) -> dict[str, list[str]]:
        assert command == ("ssh", "-F", "config", "--", host)
        return {"proxyjump": [found[host]]} if host in found else {}

    monkeypatch.setattr(openssh_config, "_start_query", lambda command: command)
    monkeypatch.setattr(openssh_config, "_read_query", read_query)
    return found


def check(jump: str) -> None:
    config: Any = SimpleNamespace(
        command=("ssh", "-F", "config", "-o", "BatchMode=yes", "--", "lab"),
        where="me@lab:22",
        first=lambda _: jump,
    )
    check_jumps(config)


@pytest.mark.parametrize(
    "jump",
    [
        *("gate", "me@gate", "gate:23", "me@gate:23", "ssh://gate", "ssh://me@gate:23"),
        *("[gate]:23", "gate,last", "gate:23,last:24"),
    ],
)
def test_cycle_of_jump_hosts_is_named(jump: str, jumps: dict[str, str]) -> None:
    jumps |= {"gate": "far", "far": "none"}
    check(jump)
    jumps["far"] = jump
    with pytest.raises(ConnectionFailed, match="cycle: lab -> gate -> far -> gate"):
        check(jump)
    jumps["gate"] = "lab"
    with pytest.raises(ConnectionFailed, match="cycle: lab -> gate -> lab"):
        check(jump)


def test_address_of_ipv6_is_no_host_with_a_port(jumps: dict[str, str]) -> None:
    for jump in ("fe80::1", "[fe80::1]:22"):
        jumps["fe80::1"] = "lab"
        with pytest.raises(ConnectionFailed, match="lab -> fe80::1 -> lab"):
            check(jump)
    for jump in ("", "none"):
        check(jump)
