"""Order of the keys of a login: chosen files, the agent, default files, passphrases."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tej.transport.paramiko.identity_files import Identity
from tej.transport.paramiko.key_order import order_keys


def identity(
    name: str, blob: bytes | None, *, encrypted: bool = False, private: bool = True
) -> Identity:
    return Identity(Path(name), blob, encrypted=encrypted, private=private)


FILES = [
    identity("closed", b"c", encrypted=True),
    identity("plain", b"p"),
    identity("unreadable", None),
    identity("public", b"2", private=False),
    identity("absent", b"x", private=False),
    identity("held", b"3", encrypted=True),
]


@pytest.mark.parametrize(
    ("chosen", "only", "order"),
    [
        (False, False, "agent2 agent3 agent1 plain unreadable closed"),
        (True, False, "agent2 agent3 plain unreadable agent1 closed"),
        (True, True, "agent2 agent3 plain unreadable closed"),
        (False, True, "agent2 agent3 plain unreadable closed"),
    ],
)
def test_keys_are_tried_in_order(chosen: bool, only: bool, order: str) -> None:
    agent: Any = [SimpleNamespace(blob=b"%d" % number) for number in (1, 2, 3)]
    config: Any = SimpleNamespace(identities_chosen=chosen, identities_only=only)
    names = [
        str(one.path) if isinstance(one, Identity) else f"agent{one.blob.decode()}"
        for one in order_keys(FILES, agent, config)
    ]
    assert names == order.split()
