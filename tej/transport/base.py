"""How to run one program on the server: the interface, and nothing else.

The command sent is always the same constant, which every login shell takes (sh,
bash, zsh, mksh, tcsh, fish).  The program is the first line of its standard input;
what follows is the program's own input.  `read` takes one byte at a time from a pipe
as POSIX asks, so it leaves what follows untouched; `sh -s` would not.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType

COMMAND = "exec /bin/sh -c 'IFS= read -r tej; eval \"$tej\"'"

Sink = Callable[[bytes], object]
"""Takes what the program prints, in pieces as they come; b"" when there is no more."""


@dataclass(frozen=True)
class Completed:
    """A program that has run to its end."""

    status: int
    """Its exit status, 0 to 255."""
    stdout: bytes
    """What it printed; empty if a sink took it."""
    stderr: bytes


class Transport(ABC):
    """A way to one server, as one user.  Safe to share between threads.

    It connects on first use, and again on the next use after a connection was lost.
    A process forked off starts without its parent's connection.
    """

    runs: int = 0
    """How many programs were run so far."""

    @abstractmethod
    def run(
        self,
        program: str,
        stdin: Iterable[bytes] = (),
        stdout: Sink | None = None,
    ) -> Completed:
        """Run a program of one line, and wait for its end.

        `stdin` is iterated in a thread of its own while the output is read, so it may
        wait for something that `stdout` is given.  If the program ends before it has
        read all, the rest is not sent and that is no error.  If iterating raises, the
        program's input ends there, and the exception is raised when the program ends.

        Raises ConnectionFailed if the connection cannot be made, is lost, or is
        silent for longer than the time-out: the program may or may not have run.
        """

    def tunnel(  # noqa: B027 (where there is no SSH there is nothing to do)
        self, listen: tuple[str, int], target: tuple[str, int]
    ) -> None:
        """Let what connects to the address `listen` on the server reach `target` here.

        That is for as long as the connection lasts: call it again, now and then, and it
        comes back with the next one.  `listen` is a host (such as "localhost", or ""
        for all that the server allows) and a port.  Raises ConnectionFailed if the
        server does not allow it.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the connection; a later `run` makes a new one."""

    def __enter__(self) -> Transport:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
