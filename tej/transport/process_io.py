"""Process I/O: sends stdin to a running program, and receives its stdout and stderr.

All transports use this module.  The caller's thread reads stdout, because callers
expect their sink to be called in their own thread.  Two further threads send stdin and
collect stderr, so that no stream blocks another.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable

from tej.errors import ConnectionFailed
from tej.transport.base import Completed, Sink
from tej.transport.start import HINT, NO_PROGRAM, NOTICE, Start

logger = logging.getLogger("tej")

IN_DOUBT = "the program may or may not have run"


class InputClosed(Exception):
    """The program accepts no more input; `serve` does not treat this as an error."""


class IdleTimer:
    """Idle timeout: limits the time in which no byte is sent to or by a program."""

    def __init__(self, where: str, io_timeout: float, start: Start) -> None:
        self.where = where
        self.io_timeout = io_timeout
        self.tick = min(1.0, io_timeout)
        """Seconds between two calls of `check`."""
        self._start = start
        self._begun = self._last = time.monotonic()
        self._noticed = False

    def moved(self) -> None:
        """Restart the timer: data has just been sent or received."""
        self._last = time.monotonic()

    @property
    def idle(self) -> float:
        """Seconds since data was last sent or received."""
        return time.monotonic() - self._last

    def check(self) -> None:
        """Raise ConnectionFailed if the limit is exceeded.

        A warning is logged earlier if start-up files on the server seem to hang.
        """
        self._start.check(self.where)
        waited = time.monotonic() - self._begun
        silent = not self._start.ready
        if silent and waited > NOTICE and not self._noticed:
            self._noticed = True
            logger.warning(
                "%s accepted the login but has not answered for %d s: %s. "
                "Giving up %g s after the login.",
                *(self.where, waited, HINT, self.io_timeout),
            )
        if silent and waited >= self.io_timeout:
            error = ConnectionFailed(
                f"{self.where} accepted the login, then was silent for "
                f"{self.io_timeout:g} s: {HINT}. Compare: ssh {self.where} true"
            )
            # Not retried: every attempt would take as long and fail in the same way.
            error.permanent = True
            raise error
        if self.idle >= self.io_timeout:
            raise ConnectionFailed(
                f"{self.where} was silent for {self.io_timeout:g} s; {IN_DOUBT}"
            )


class Process(ABC):
    """A running program, as each transport implements it."""

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Write to stdin; raises InputClosed if the program accepts no more input."""

    @abstractmethod
    def end_input(self) -> None:
        """Close stdin of the program."""

    @abstractmethod
    def receive(self) -> bytes:
        """Return some data from stdout; b"" at the end."""

    @abstractmethod
    def receive_error(self) -> bytes:
        """Return some data from stderr; b"" at the end."""

    @abstractmethod
    def wait(self) -> int:
        """Wait for the exit status.  Afterwards, all methods above return soon."""

    @abstractmethod
    def abort(self, error: BaseException) -> None:
        """Give the program up after an error.  All methods above then return soon."""

    def close(self) -> None:  # noqa: B027 (not every process holds descriptors)
        """Release descriptors; called last, once."""


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
        """Pass data to the sink, without the output of start-up files."""
        data = self._start.strip(data)
        if data:
            self._sink(data)

    def end(self) -> None:
        """Pass b"" to the sink, which marks the end; further calls do nothing."""
        if not self._ended:
            self._ended = True
            noise = self._start.end()
            try:
                if noise:
                    self._sink(noise)
            finally:
                self._sink(b"")

    @property
    def kept(self) -> bytes:
        """The whole output, if there is no sink."""
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
            # Close a generator here: its cleanup must run in this thread, now, and not
            # whenever the garbage collector finds it.
            close = getattr(pieces, "close", None)
            if close is not None:
                close()


class _Collector(threading.Thread):
    def __init__(self, process: Process) -> None:
        super().__init__(name="tej stderr", daemon=True)
        self._process = process
        self._pieces: list[bytes] = []

    def run(self) -> None:
        # Suppressed here, because the thread that reads stdout meets and reports the
        # same failure.
        with contextlib.suppress(Exception):
            while piece := self._process.receive_error():
                self._pieces.append(piece)

    @property
    def kept(self) -> bytes:
        return b"".join(self._pieces)


def serve(
    process: Process, start: Start, stdin: Iterable[bytes], output: Output, where: str
) -> Completed:
    """Serve the program until it finishes.  All threads end before this returns."""
    sender, collector = _Sender(process, _chain(start, stdin)), _Collector(process)
    sender.start()
    collector.start()
    try:
        while piece := process.receive():
            output.take(piece)
        output.end()
        status = process.wait()
        if status == NO_PROGRAM:
            start.require(where)
    except BaseException as error:
        process.abort(error)
        raise
    finally:
        # `output.end` comes first: the iterator for stdin may wait for the end of the
        # output, and `sender.join` would never return.
        with contextlib.ExitStack() as stack:
            stack.callback(process.close)
            stack.callback(collector.join)
            stack.callback(sender.join)
            # If the output has not ended yet, an error is being raised.  An exception
            # of the sink must not replace that error.
            stack.enter_context(contextlib.suppress(Exception))
            output.end()
    if sender.error is not None:
        raise sender.error
    return Completed(status, output.kept, collector.kept)


def _chain(start: Start, stdin: Iterable[bytes]) -> Iterable[bytes]:
    """Yield the program and then its input; closing this closes the input, too."""
    pieces = iter(stdin)
    try:
        yield from start.stdin(pieces)
    finally:
        close = getattr(pieces, "close", None)
        if close is not None:
            close()
