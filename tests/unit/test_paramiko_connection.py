"""A connection made by paramiko, without a server."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from clocks import SimulatedTime

from tej.transport.paramiko import connection
from tej.transport.settings import Settings


def test_session_behind_other_data_is_awaited_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = SimulatedTime(100)
    monkeypatch.setattr(connection, "time", clock)
    one = connection.ParamikoConnection(Settings(io_timeout=120))
    one.timeout = 30
    received: Any = SimpleNamespace(last_received=clock.now)
    one.sockets.append(received)
    assert one._session_timeout == 30
    program: Any = object()
    one.channels.add(program)
    assert one._session_timeout == 120
    clock.now += 30
    assert one._session_timeout == 30
