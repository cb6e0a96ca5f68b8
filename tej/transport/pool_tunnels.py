"""Tunnels of a connection pool, which are opened again after a lost connection."""

from __future__ import annotations

import logging
import threading

from tej.errors import ConnectionFailed
from tej.transport.connection import Address, Connection

logger = logging.getLogger("tej")


class Tunnels:
    """The open tunnels of a pool; all threads of the pool share this object."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._targets: dict[Address, Address] = {}
        """The target of each open tunnel, by the address that the server listens on."""
        self._lost: set[Address] = set()
        """Tunnels that ended with a lost connection, and have to be opened again."""

    def add(self, listen: Address, target: Address) -> None:
        with self._lock:
            self._targets[listen] = target
            self._lost.discard(listen)

    def clear(self) -> None:
        with self._lock:
            self._targets.clear()
            self._lost.clear()

    def lose(self) -> None:
        """Record that all tunnels ended with their connection."""
        with self._lock:
            self._lost = {*self._targets}

    def restore(self, connection: Connection) -> None:
        """Open the lost tunnels again over a new connection.

        The server may keep the port of a tunnel in use for some time after it has lost
        the old connection.  Such a tunnel is opened by a later call.
        """
        with self._lock:
            lost = {listen: self._targets[listen] for listen in self._lost}
        for listen, target in lost.items():
            try:
                connection.tunnel(listen, target)
            except (ConnectionFailed, OSError) as error:
                logger.info("The tunnel from port %d is not open: %s", listen[1], error)
            else:
                with self._lock:
                    self._lost.discard(listen)
