"""Relay: forked processes use the server connections of their parent process.

A forked process cannot use its parent's SSH connection directly, because two processes
cannot write to the same encrypted stream.  A login for each forked process would be
slow, and many servers limit the rate of logins.  Therefore each fork creates a pair of
connected sockets.  Over these sockets, the child process asks its parent to run
programs on a server and to wait for jobs.  The parent waits for the jobs of all its
child processes with one request.

A child process that is not forked (on Windows, or with the start method "spawn") opens
its own connections.
"""

from __future__ import annotations

import os
import pickle
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any

from tej.errors import ConnectionFailed, Error
from tej.job.status import JobStatus
from tej.queue.remote import RemoteQueue
from tej.queue.tick import TICK
from tej.queue.wait_request import Watcher
from tej.transport import Completed, Sink, Transport
from tej.transport.local_shortage import start_thread

Address = tuple[Any, ...]
"""Identifies a queue; the child process pickles the address and sends it to its parent,
which passes the address to `OpenQueue`."""
OpenQueue = Callable[[Address], RemoteQueue]


class _Process:
    """The sockets of this process to its parent and to its children."""

    def __init__(self) -> None:
        self.open_queue: OpenQueue | None = None
        self.to_parent: socket.socket | None = None
        self.to_children: set[socket.socket] = set()
        # `forking` holds the socket pair of a fork in progress.  `forking` is
        # thread-local because several threads may fork at once, and because all hooks
        # of one fork run in the thread that forks.
        self.forking = threading.local()


_process = _Process()


def serve_children(open_queue: OpenQueue) -> None:
    """Let processes that are forked after this call use the queues of this process.

    In a process that itself uses the queues of its parent, this function does nothing,
    because the children of this process inherit its socket to that parent.
    """
    if _process.to_parent is None:
        _process.open_queue = open_queue


def has_parent() -> bool:
    """Return whether this process can use the connections of its parent."""
    return _process.to_parent is not None


def _before_fork() -> None:
    if _process.open_queue is not None:
        _process.forking.ends = socket.socketpair()


def _after_fork_in_parent() -> None:
    ends = _process.forking.__dict__.pop("ends", None)
    if ends is None:
        return
    mine, childs = ends
    # Close the child's end of the socket pair in the parent.  Otherwise, the parent
    # would not read end-of-file when the child exits.
    childs.close()
    _process.to_children.add(mine)
    thread = threading.Thread(
        target=_serve, args=(mine,), name="tej relay", daemon=True
    )
    try:
        start_thread(thread, "tej relay")
    except ConnectionFailed:
        # Close the socket, so that the child reads end-of-file instead of waiting for a
        # reply.
        _process.to_children.discard(mine)
        mine.close()


def _after_fork_in_child() -> None:
    ends = _process.forking.__dict__.pop("ends", None)
    # This process has inherited the sockets that connect its parent to other children.
    # If this process did not close these sockets, the other children would not read
    # end-of-file when the parent exits.
    for other in _process.to_children:
        other.close()
    _process.to_children = set()
    if ends is not None:
        parents, _process.to_parent = ends
        parents.close()
        _process.open_queue = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )


# Functions that run in the parent process.


def _serve(child: socket.socket) -> None:
    """Accept the requests of one child process; each request uses its own socket."""
    try:
        while True:
            data, descriptors, _, _ = socket.recv_fds(child, 1, 1)
            if not data:
                return
            if not descriptors:
                # This process has too many open files, so the kernel has closed the
                # received descriptor, and the child reads end-of-file.
                continue
            connection = Connection(descriptors[0])
            thread = threading.Thread(
                target=_serve_request,
                args=(connection,),
                name="tej relay request",
                daemon=True,
            )
            try:
                start_thread(thread, "tej relay")
            except ConnectionFailed:
                # The child reads end-of-file, as above.
                connection.close()
            # Delete the references, which would keep the socket open until the next
            # request.
            del connection, thread
    except OSError:
        return
    finally:
        _process.to_children.discard(child)
        child.close()


def _serve_request(connection: Connection) -> None:
    """Carry out one request of a child process, and send the result."""
    with _shut_down_at_end(connection), suppress(EOFError, OSError):
        try:
            kind, address, *arguments = connection.recv()
            assert _process.open_queue is not None
            queue = _process.open_queue(address)
            if kind == "run":
                _run(connection, queue, *arguments)
            else:
                _wait(connection, queue, *arguments)
        except (EOFError, BrokenPipeError):
            raise
        except Exception as error:
            connection.send(("error", _portable(error)))
        else:
            connection.send(("done", None))


def _run(connection: Connection, queue: RemoteQueue, program: str) -> None:
    def stdin() -> Iterator[bytes]:
        with suppress(EOFError):
            while data := connection.recv_bytes():
                yield data

    done = queue.transport.run(
        program, stdin(), lambda data: connection.send(("data", data))
    )
    connection.send(("data", done))


def _wait(
    connection: Connection,
    queue: RemoteQueue,
    job_ids: list[str],
    seconds: float | None,
) -> None:
    def check_child() -> None:
        # The child sends no data after its request.  A readable socket therefore means
        # that the child has closed its socket: it has stopped waiting, or has exited.
        if connection.poll():
            raise EOFError

    deadline = None if seconds is None else time.monotonic() + seconds
    for end in queue.watcher.ends(job_ids, deadline, check_child):
        connection.send(("data", end))


@contextmanager
def _shut_down_at_end(connection: Connection) -> Iterator[None]:
    """Shut the socket down at the end of the context.

    After the shutdown, the other process and the threads of this process read
    end-of-file.  The file descriptor stays open until no object refers to it.  If the
    descriptor were closed here, the system could reuse its number while a thread still
    reads from it.
    """
    try:
        yield
    finally:
        with (
            suppress(OSError),
            socket.socket(fileno=os.dup(connection.fileno())) as end,
        ):
            end.shutdown(socket.SHUT_RDWR)


def _portable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return Error(f"{type(error).__name__}: {error}")
    return error


# Functions and classes that run in the child process.


def _request(*words: object) -> Connection:
    assert _process.to_parent is not None
    mine, parents = socket.socketpair()
    try:
        socket.send_fds(_process.to_parent, [b"\0"], [parents.fileno()])
    except OSError as error:
        mine.close()
        raise _parent_gone() from error
    finally:
        parents.close()
    connection = Connection(mine.detach())
    # If the parent has closed the socket, `_replies` raises the error.
    with suppress(OSError):
        connection.send(words)
    return connection


def _replies(
    connection: Connection, on_tick: Callable[[], object] | None = None
) -> Iterator[Any]:
    """Yield the data that the parent sends; if the parent sends an error, raise it."""
    due = 0.0
    while True:
        if on_tick is not None and time.monotonic() >= due:
            on_tick()
            due = time.monotonic() + TICK
        if not connection.poll(TICK):
            continue
        try:
            kind, value = connection.recv()
        except (EOFError, OSError) as error:
            raise _reply_lost() from error
        if kind == "error":
            raise value
        if kind == "done":
            return
        yield value


def _reply_lost() -> Error:
    assert _process.to_parent is not None
    try:
        ended = not _process.to_parent.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        ended = False
    except OSError:
        ended = True
    if ended:
        return _parent_gone()
    return ConnectionFailed(
        "The parent process, whose connection to the server this process uses, did not "
        "carry out the request: it has too many open files or threads"
    )


def _parent_gone() -> Error:
    # The error is not a ConnectionFailed, because a ConnectionFailed causes retries,
    # and a parent process that has ended cannot reply.
    return Error(
        "The parent process, whose connection to the server this process used, has "
        "ended or cannot start a thread; the jobs continue to run"
    )


class RelayTransport(Transport):
    """Runs programs on the server over the connection of the parent process."""

    def __init__(self, address: Address) -> None:
        self._address = address

    def run(
        self, program: str, stdin: Iterable[bytes] = (), stdout: Sink | None = None
    ) -> Completed:
        """Run a program on the server; see `Transport.run`."""
        output: list[bytes] = []
        sink = output.append if stdout is None else stdout
        errors: list[BaseException] = []

        def send() -> None:
            try:
                for data in filter(None, stdin):
                    # If the program on the server finishes before it has read all of
                    # its input, the parent closes the socket.  The OSError that follows
                    # is therefore ignored.
                    with suppress(OSError):
                        connection.send_bytes(data)
            except BaseException as error:
                errors.append(error)
            with suppress(OSError):
                connection.send_bytes(b"")

        connection = _request("run", self._address, program)
        with _shut_down_at_end(connection):
            sender = threading.Thread(target=send, name="tej relay stdin", daemon=True)
            start_thread(sender, "Connection of the parent process")
            for data in _replies(connection):
                if isinstance(data, Completed):
                    done = data
                else:
                    sink(data)
        if errors:
            raise errors[0]
        return Completed(done.status, b"".join(output), done.stderr)

    def close(self) -> None:
        """Do nothing, because the connection belongs to the parent and stays open."""


class RelayWatcher(Watcher):
    """Waits for jobs by a request to the parent process."""

    def __init__(self, queue: RemoteQueue, address: Address) -> None:
        super().__init__(queue.connection)
        self._address = address

    def ends(
        self,
        job_ids: Iterable[str],
        deadline: float | None = None,
        on_tick: Callable[[], object] | None = None,
    ) -> Iterator[tuple[str, JobStatus | None]]:
        """Yield the id and the final status of each job; see `Watcher.ends`."""
        seconds = None if deadline is None else max(0, deadline - time.monotonic())
        connection = _request("wait", self._address, list(job_ids), seconds)
        with _shut_down_at_end(connection):
            yield from _replies(connection, on_tick)


def relay_queue(queue: RemoteQueue, address: Address) -> RemoteQueue:
    """Make `queue` use the connection of the parent process, and return `queue`."""
    queue.transport = queue.connection.transport = RelayTransport(address)
    queue.watcher = RelayWatcher(queue, address)
    return queue
