"""Tunnels: the target of a connection from a port of the server."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tej.transport.paramiko.remote_forwarding import Tunnels


def test_connection_without_a_target_is_closed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    closed: list[bool] = []
    channel: Any = SimpleNamespace(close=lambda: closed.append(True))
    asked: list[tuple[str, int]] = []
    transport: Any = SimpleNamespace(
        request_port_forward=lambda *listen, handler: asked.append(listen)
    )
    tunnels = Tunnels()
    for target in (("here", 1), ("here", 2)):
        tunnels.open(transport, ("localhost", 5000), target)
    assert asked == [("localhost", 5000)]
    assert tunnels._target(("127.0.0.1", 5000)) == ("here", 2)
    tunnels._accept(channel, ("far", 9), ("localhost", 5001))
    assert closed == [True]
    assert caplog.messages == ["The tunnel from port 5001 has no target on this side"]
