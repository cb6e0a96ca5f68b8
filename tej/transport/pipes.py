"""Pipes: a running program with stdin, stdout and stderr as non-blocking pipes."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import weakref

from tej.transport.io_timeout import IdleTimer
from tej.transport.process_io import InputClosed, Process

PIECE = 1 << 18
POLL = 0.1
"""Seconds between two checks whether the program has ended, while a thread waits for
data from a pipe."""


class PipeProcess(Process):
    """A program whose stdin, stdout and stderr are pipes of this process."""

    def __init__(
        self, stdin: int, stdout: int, stderr: int, timer: IdleTimer | None = None
    ) -> None:
        self._pipes: dict[str, int] = {"in": stdin, "out": stdout, "err": stderr}
        self._timer = timer
        self._over = threading.Event()
        # A thread acquires this lock before it closes or uses a descriptor.  Without
        # the lock, a thread might use the number of a descriptor that another thread
        # has closed, and that already belongs to another file.
        self._lock = threading.Lock()
        # The pipes are non-blocking, because a descendant of the program may keep a
        # pipe open after the program has ended: a blocking read would never return.
        for pipe in (stdin, stdout, stderr):
            os.set_blocking(pipe, False)
        _running.add(self)

    def send(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            if self._over.is_set():
                raise InputClosed
            try:
                sent = self._write(rest)
            except BlockingIOError:
                _wait(self._pipes.get("in", -1), select.POLLOUT)
                continue
            except OSError as error:
                raise InputClosed from error
            rest = rest[sent:]
            if self._timer is not None:
                self._timer.restart()

    def _write(self, data: memoryview) -> int:
        with self._lock:
            if "in" not in self._pipes:
                raise InputClosed
            return os.write(self._pipes["in"], data)

    def end_input(self) -> None:
        self._close("in")

    def receive(self) -> bytes:
        if self._timer is not None:
            # Restart the timer, because the time that the caller's sink took must not
            # count as idle time of the server.
            self._timer.restart()
        return self._read("out")

    def receive_error(self) -> bytes:
        return self._read("err")

    def _read(self, name: str) -> bytes:
        while True:
            over = self._over.is_set()
            try:
                with self._lock:
                    if name not in self._pipes:
                        return b""
                    data = os.read(self._pipes[name], PIECE)
            except BlockingIOError:
                # If the pipe is empty and the program has ended, no more data follows.
                if over:
                    return b""
                _wait(self._pipes.get(name, -1), select.POLLIN)
            else:
                if self._timer is not None:
                    self._timer.restart()
                return data
            # The thread that reads stdout checks the idle limit for all three streams.
            if self._timer is not None and name == "out":
                self._timer.check()

    def finished(self) -> None:
        """Record that the program has ended, which ends the threads of its streams."""
        self._over.set()

    def release(self) -> None:
        """Close all pipes."""
        for name in ("in", "out", "err"):
            self._close(name)
        _running.discard(self)

    def _close(self, name: str) -> None:
        with self._lock:
            pipe = self._pipes.pop(name, None)
        if pipe is not None:
            with contextlib.suppress(OSError):
                os.close(pipe)

    def after_fork(self) -> None:
        """Close the copies of the pipes in a forked child.

        Otherwise, the process at the other end of stdin would not read end-of-file when
        the parent closes stdin.
        """
        # Create a new lock, because a thread of the parent may have locked the old one.
        self._lock = threading.Lock()
        self._over.set()
        self.release()


def _wait(pipe: int, event: int) -> None:
    poll = select.poll()
    poll.register(pipe, event)
    poll.poll(POLL * 1000)


_running: weakref.WeakSet[PipeProcess] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for process in list(_running):
        process.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
