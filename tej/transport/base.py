"""`Transport`: the interface through which tej runs programs on a server."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType

Sink = Callable[[bytes], object]
"""Function that is called with each piece of the output, and with b"" at the end."""


@dataclass(frozen=True)
class Completed:
    """The result of a program that has finished."""

    status: int
    """Exit status, 0 to 255."""
    stdout: bytes
    """Standard output of the program; empty if a sink received it."""
    stderr: bytes


class Transport(ABC):
    """Runs programs on one server, as one user.  Threads may share a transport.

    A transport connects on its first use.  After its connection is lost, it connects
    again on its next use.  In a forked child it starts without a connection, since the
    child must not use that of its parent.
    """

    runs: int = 0
    """Number of programs started so far."""

    @abstractmethod
    def run(
        self,
        program: str,
        stdin: Iterable[bytes] = (),
        stdout: Sink | None = None,
    ) -> Completed:
        """Run a program of one line and wait until it finishes.

        `stdin` is iterated over in a separate thread while the output is read, so it
        may wait for data that `stdout` receives.  A program that finishes before it has
        read all of its input is no error.  If iterating raises an exception, the input
        ends there, and `run` raises that exception once the program has finished.

        Raises ConnectionFailed if the connection cannot be made, is lost, or is idle
        for longer than `io_timeout`.  The program may or may not have run then.
        """

    def tunnel(  # noqa: B027 (a transport without SSH has nothing to forward)
        self, listen: tuple[str, int], target: tuple[str, int]
    ) -> None:
        """Forward connections to `listen` on the server to `target` on this side.

        The tunnel exists as long as the connection to the server; call this again to
        restore the tunnel on the next connection.  `listen` is a host and a port; the
        host "" stands for every address that the server permits.  Raises
        ConnectionFailed if the server does not permit the tunnel.
        """

    @abstractmethod
    def close(self) -> None:
        """Release the connection; a later `run` opens a new one."""

    def __enter__(self) -> Transport:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
