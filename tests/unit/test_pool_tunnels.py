"""Tunnels that are opened again after a lost connection."""

from __future__ import annotations

from typing import Any

from tej.errors import ConnectionFailed
from tej.transport.pool_tunnels import Tunnels


class Connection:
    taken: int | None = None

    def __init__(self) -> None:
        self.opened: list[object] = []

    def tunnel(self, listen: tuple[str, int], target: tuple[str, int]) -> None:
        if listen[1] == self.taken:
            raise ConnectionFailed("The port is taken")
        self.opened.append((listen, target))


def test_lost_tunnels_are_opened_until_their_ports_are_free() -> None:
    tunnels, target = Tunnels(), ("target", 80)
    for port in (1, 2):
        tunnels.add(("server", port), target)
    connection: Any = Connection()
    tunnels.restore(connection)
    assert connection.opened == []
    tunnels.lose()
    connection.taken = 1
    tunnels.restore(connection)
    assert connection.opened == [(("server", 2), target)]
    connection.taken = None
    tunnels.restore(connection)
    tunnels.restore(connection)
    assert connection.opened[1:] == [(("server", 1), target)]
    tunnels.clear()
    tunnels.lose()
    tunnels.restore(connection)
    assert len(connection.opened) == 2
