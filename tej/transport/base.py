"""`Transport`: the interface through which tej runs programs on a server."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import NamedTuple

Sink = Callable[[bytes], object]
"""Function that is called with each piece of a program's output, and then with b""."""


class Completed(NamedTuple):
    """The result of a program that has finished."""

    status: int
    """Exit status, 0 to 255."""
    stdout: bytes
    """Standard output of the program; empty if a sink received it."""
    stderr: bytes
    """Standard error of the program; of a long text, only its start and its end."""


class Transport(ABC):
    """Runs programs on one server, as one user.  Threads may share a transport.

    A transport connects on its first use.  If its connection is lost, the transport
    connects again on its next use.  In a forked child, a transport starts without a
    connection, since the child must not use the connection of its parent.
    """

    runs: int = 0
    """Number of programs started so far."""

    def prepare(self) -> None:  # noqa: B027 (only ssh has a configuration to read)
        """Start to read the ssh configuration, without contacting the server.

        A caller that has other work to do before the first `run` may call `prepare`, so
        that both proceed at the same time.
        """

    def connect_early(self) -> None:  # noqa: B027 (only ssh can connect without waiting)
        """Start to log in, after `prepare`, without waiting for the server.

        If another process has already logged in, request the session of the first
        program instead.  The caller must call `run` or `close` soon, because other
        processes wait for this login.  Until then, `ssh` may prompt the user for a
        secret.  Raises ConnectionFailed if the configuration cannot be read.
        """

    @abstractmethod
    def run(
        self,
        program: str,
        stdin: Iterable[bytes] = (),
        stdout: Sink | None = None,
    ) -> Completed:
        """Run `program`, a line of shell code, and wait until it finishes.

        `stdin` yields the program's input, and `stdout` receives its output.  A
        separate thread iterates over `stdin`, so the iterator may wait for output that
        `stdout` receives.  It is not an error if the program finishes before it has
        read all of its input.  If the iterator raises an exception, the input ends, and
        `run` raises the exception when the program has finished.

        Raises ConnectionFailed if the connection cannot be made, is lost, or is idle
        for longer than `io_timeout`.  After a ConnectionFailed, the program may or may
        not have run.
        """

    def tunnel(  # noqa: B027 (a transport without SSH has nothing to forward)
        self, listen: tuple[str, int], target: tuple[str, int]
    ) -> None:
        """Forward connections from `listen` on the server to `target` on this side.

        Both are a host and a port.  In `listen`, the host "" stands for every address
        that the server permits.  If the connection to the server is lost, the next call
        to `run` or `tunnel` connects again and opens the tunnel again.  The tunnel ends
        when the transport is closed.  Raises ConnectionFailed if the server does not
        permit the tunnel.
        """

    def disable_prompts(self) -> None:  # noqa: B027 (a local transport never prompts)
        """Disable prompts: a later login that needs a secret from the user fails."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection; a later call to `run` opens a new connection."""

    def __enter__(self) -> Transport:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
