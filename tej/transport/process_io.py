"""Process I/O: send stdin to a running program, and receive its stdout and stderr.

All transports use this module.  The caller's thread reads stdout, so that the caller's
sink is called in the caller's own thread.  Two further threads send stdin and collect
stderr, so that no stream blocks another.
"""

from __future__ import annotations

import contextlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable

from tej.errors import ConnectionFailed
from tej.transport.base import Completed, Sink
from tej.transport.head_and_tail import HeadAndTail
from tej.transport.io_timeout import Silence
from tej.transport.local_shortage import start_thread
from tej.transport.program_start import NO_PROGRAM, Start


class InputClosed(Exception):
    """Raised by `send` if the program accepts no more input; `serve` ignores it."""


class Process(ABC):
    """A running program; each transport has a subclass."""

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Write to stdin; raises InputClosed if the program accepts no more input."""

    @abstractmethod
    def end_input(self) -> None:
        """Close stdin of the program."""

    @abstractmethod
    def receive(self) -> bytes:
        """Return some data from stdout, or b"" at the end of stdout."""

    @abstractmethod
    def receive_error(self) -> bytes:
        """Return some data from stderr, or b"" at the end of stderr."""

    @abstractmethod
    def wait(self) -> int:
        """Wait until the program ends; returns its exit status.

        When `wait` has returned, calls to `send` and `receive` in other threads end
        soon.
        """

    @abstractmethod
    def abort(self, error: BaseException) -> None:
        """Stop waiting for the program after an error.

        When `abort` has returned, calls to `send` and `receive` in other threads end
        soon.
        """

    def has_ended(self) -> bool:
        """Return whether the program has certainly ended; does not wait for its end."""
        return False

    def close(self) -> None:  # noqa: B027 (not every process holds descriptors)
        """Close the descriptors; `serve` calls this once, as the last method."""


class Output:
    """Destination of a program's stdout: the caller's sink, or memory."""

    def __init__(self, sink: Sink | None, start: Start) -> None:
        self._pieces: list[bytes] = []
        self._sink = self._keep if sink is None else sink
        self._start = start
        self._ended = False

    def _keep(self, data: bytes) -> None:
        if data:
            self._pieces.append(data)

    def take(self, data: bytes) -> None:
        """Pass data to the sink, without the output of the shell's start-up files."""
        data = self._start.strip(data)
        if data:
            self._sink(data)

    def end(self) -> None:
        """Pass b"" to the sink to mark the end of the output.

        If the program has not run, the last output of start-up files precedes the b"".
        Only the first call has an effect.
        """
        if not self._ended:
            self._ended = True
            startup_output = self._start.end()
            try:
                if startup_output:
                    self._sink(startup_output)
            finally:
                self._sink(b"")

    @property
    def kept(self) -> bytes:
        """The whole output if the caller gave no sink, else b""."""
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
            # If stdin is a generator, close it here, so that its cleanup runs in this
            # thread and not later in the garbage collector.
            close = getattr(pieces, "close", None)
            if close is not None:
                close()


class _Collector(threading.Thread):
    """Thread that reads stderr, and stores only head and tail of a long stderr."""

    def __init__(self, process: Process) -> None:
        super().__init__(name="tej stderr", daemon=True)
        self._process = process
        self._kept = HeadAndTail()

    def run(self) -> None:
        # Errors are suppressed here, because the thread that reads stdout raises the
        # same error.
        with contextlib.suppress(Exception):
            while piece := self._process.receive_error():
                self._kept.add(piece)

    @property
    def kept(self) -> bytes:
        return self._kept.value


def serve(
    process: Process, start: Start, stdin: Iterable[bytes], output: Output, where: str
) -> Completed:
    """Send and receive the data of a program until it finishes; return its result.

    All threads that `serve` starts end before `serve` returns.
    """
    sender, collector = _Sender(process, _chain(start, stdin)), _Collector(process)
    with contextlib.ExitStack() as stack:
        stack.callback(process.close)
        try:
            # The sender starts last, because it sends the program: if a thread cannot
            # be started, no program runs.
            for thread in (collector, sender):
                start_thread(thread, where)
                stack.callback(thread.join)
            while piece := process.receive():
                output.take(piece)
            output.end()
            status = process.wait()
            if status == NO_PROGRAM:
                start.require(where)
        except BaseException as error:
            held_open = isinstance(error, Silence) and process.has_ended()
            process.abort(error)
            if held_open:
                raise _held_open(where) from error
            raise
        finally:
            # `output.end` runs before `sender.join`.  In the other order, `sender.join`
            # might never return, because the iterator for stdin may wait for the end of
            # the output.  If the output has not ended yet, the program has failed, and
            # its error is being raised.  An exception of the sink must not replace
            # this error.
            with contextlib.suppress(Exception):
                output.end()
    if sender.error is not None:
        raise sender.error
    return Completed(status, output.kept, collector.kept)


def _held_open(where: str) -> ConnectionFailed:
    """Return the error for a program that has ended, but whose output has not."""
    error = ConnectionFailed(
        f"The program on {where} has ended, but its output stays open, so it is "
        "unknown whether the request succeeded. A start-up file there seems to start "
        "another program in the background, which inherits the output: in start-up "
        "files, redirect the output of such a program (`PROGRAM >/dev/null 2>&1 &`)"
    )
    error.cut = True
    # Each further attempt would take as long as this one.
    error.permanent = True
    return error


def _chain(start: Start, stdin: Iterable[bytes]) -> Iterable[bytes]:
    """Yield the program and then its input.

    If this generator is closed, it closes the iterator for the input as well.
    """
    pieces = iter(stdin)
    try:
        yield from start.stdin(pieces)
    finally:
        close = getattr(pieces, "close", None)
        if close is not None:
            close()
