"""Transport: the interface through which tej runs one program on a server."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType

Sink = Callable[[bytes], object]
"""Receives the program's output piece by piece; b"" marks the end."""


@dataclass(frozen=True)
class Completed:
    """The result of a program that has finished."""

    status: int
    """Exit status, 0 to 255."""
    stdout: bytes
    """Its output; empty if a sink received it."""
    stderr: bytes


class Transport(ABC):
    """A way to one server, as one user.  Threads may share it.

    A transport connects on first use, and reconnects on the next use after it lost its
    connection.  A forked process starts without its parent's connection.
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

        A separate thread iterates over `stdin` while the output is read, so `stdin` may
        wait for something that `stdout` receives.  A program that finishes before it
        has read all of its input is no error.  If iterating raises an exception, the
        input ends there, and `run` raises that exception once the program has finished.

        Raises ConnectionFailed if the connection cannot be made, is lost, or is idle
        for longer than the timeout: the program may or may not have run.
        """

    def tunnel(  # noqa: B027 (a transport without SSH has nothing to forward)
        self, listen: tuple[str, int], target: tuple[str, int]
    ) -> None:
        """Forward connections to `listen` on the server to `target` on this side.

        The tunnel lasts as long as the connection; repeated calls restore it on the
        next connection.  `listen` is a host (such as "localhost", or "" for every
        address that the server permits) and a port.  Raises ConnectionFailed if the
        server does not permit it.
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
