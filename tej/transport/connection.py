"""`Connection`: the interface of an open SSH connection, which the pool uses."""

from __future__ import annotations

from abc import ABC, abstractmethod

from tej.transport.process_io import Process
from tej.transport.program_start import Start

Address = tuple[str, int]
"""Host and port."""


class Connection(ABC):
    """An open connection to the server."""

    where: str
    """Name of the server for use in messages."""
    fresh = True
    """Whether no program has been started yet over this connection.

    If a fresh connection fails, the transport raises an error.  If a connection that is
    not fresh fails, the transport connects again."""

    @property
    @abstractmethod
    def alive(self) -> bool:
        """False if the connection is known to be lost; True if it may still work."""

    @abstractmethod
    def start(self, start: Start) -> Process:
        """Run the program in `start` in a new session, and return its process.

        The session runs `program_start.COMMAND`, which reads the program from stdin.
        Raises BlockingIOError if the server permits no further session,
        ConnectionFailed if the connection is lost, and another OSError if a limit of
        this process is reached (`local_shortage.py`).  After these errors, no program
        has run.
        """

    @abstractmethod
    def tunnel(self, listen: Address, target: Address) -> None:
        """Forward connections that arrive at `listen` on the server to `target`.

        Raises ConnectionFailed if the server refuses or the connection is lost, and
        OSError if a limit of this process is reached.
        """

    @abstractmethod
    def close(self) -> None:
        """Disconnect without waiting for the network."""

    def replace(self) -> None:
        """Disconnect a connection that does not work, so that no process uses it."""
        self.close()

    def disconnect(self) -> None:  # noqa: B027 (not every connection holds a socket)
        """Disconnect without locking; the garbage collector may call this method."""

    def abandon(self) -> None:  # noqa: B027 (not every connection needs this)
        """Release the connection in a forked child, without sending any data.

        The parent process continues to use the connection.
        """
