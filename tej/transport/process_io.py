"""A program's three streams served at once, until it ends: the same for any transport.

The caller's thread takes stdout, since that is where the caller's sink expects to be
called; a thread each sends stdin and collects stderr.
"""

from __future__ import annotations

import contextlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable

from tej.transport.base import Completed, Sink


class InputClosed(Exception):
    """The program takes no more input; it is free to, and that is no error."""


class Process(ABC):
    """A program that runs, as a transport sees it."""

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Give it input; InputClosed if it does not want it, or has ended."""

    @abstractmethod
    def end_input(self) -> None:
        """Let it read end-of-file."""

    @abstractmethod
    def receive(self) -> bytes:
        """Some of what it printed; b"" when there is no more."""

    @abstractmethod
    def receive_error(self) -> bytes:
        """Some of what it said on stderr; b"" when there is no more."""

    @abstractmethod
    def wait(self) -> int:
        """Its exit status.  From then on nothing above blocks for ever."""

    @abstractmethod
    def abort(self, error: BaseException) -> None:
        """Give up because of an error: make everything above end soon."""


class Output:
    """Where a program's stdout goes: the caller's sink, or memory."""

    def __init__(self, sink: Sink | None) -> None:
        self._pieces: list[bytes] = []
        self._sink = self._keep if sink is None else sink
        self._ended = False

    def _keep(self, data: bytes) -> None:
        if data:
            self._pieces.append(data)

    def take(self, data: bytes) -> None:
        """Pass on a piece."""
        self._sink(data)

    def end(self) -> None:
        """Tell the sink that there is no more: once, however often it is called."""
        if not self._ended:
            self._ended = True
            self._sink(b"")

    @property
    def kept(self) -> bytes:
        """All of it, if there was no sink."""
        return b"".join(self._pieces)


class _Sender(threading.Thread):
    def __init__(self, process: Process, stdin: Iterable[bytes]) -> None:
        super().__init__(name="tej stdin", daemon=True)
        self._process = process
        self._stdin = stdin
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self._send_all()
        except BaseException as error:
            self.error = error
        finally:
            with contextlib.suppress(InputClosed):
                self._process.end_input()

    def _send_all(self) -> None:
        pieces = iter(self._stdin)
        try:
            for piece in pieces:
                if piece:
                    self._process.send(piece)
        except InputClosed:
            pass
        finally:
            # A generator cleans up in this thread, not whenever it is collected.
            close = getattr(pieces, "close", None)
            if close is not None:
                close()


class _Collector(threading.Thread):
    def __init__(self, process: Process) -> None:
        super().__init__(name="tej stderr", daemon=True)
        self._process = process
        self._pieces: list[bytes] = []

    def run(self) -> None:
        # What breaks here breaks stdout as well, and is reported there.
        with contextlib.suppress(Exception):
            while piece := self._process.receive_error():
                self._pieces.append(piece)

    @property
    def kept(self) -> bytes:
        return b"".join(self._pieces)


def first_line(program: str) -> bytes:
    """The program as the line that COMMAND reads; what is not UTF-8 stays as it is."""
    if "\n" in program:
        raise ValueError("a program has to be one line")
    return program.encode("utf-8", "surrogateescape") + b"\n"


def converse(process: Process, stdin: Iterable[bytes], output: Output) -> Completed:
    """Serve the program until it ends.  No thread outlives the call."""
    sender, collector = _Sender(process, stdin), _Collector(process)
    sender.start()
    collector.start()
    try:
        while piece := process.receive():
            output.take(piece)
        output.end()
        status = process.wait()
    except BaseException as error:
        process.abort(error)
        raise
    finally:
        # What stdin yields may be waiting for the end of the output.
        with contextlib.ExitStack() as stack:
            stack.callback(collector.join)
            stack.callback(sender.join)
            # If it has not ended by now there is an error to report, not this one.
            stack.enter_context(contextlib.suppress(Exception))
            output.end()
    if sender.error is not None:
        raise sender.error
    return Completed(status, output.kept, collector.kept)
