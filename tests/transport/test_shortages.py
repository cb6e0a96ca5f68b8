"""Limits of this process and machine: open files, threads, the queue of a socket."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from servers.sshd import Sshd

import tej.queue.fork_relay as relay
from tej.destination import Destination
from tej.errors import ConnectionFailed
from tej.queue import as_completed
from tej.queue.download_receiver import Download, Unpacking
from tej.queue.logs import LogThread
from tej.transport import Transport, openssh, openssh_mux
from tej.transport.openssh_config import read_config
from tej.transport.openssh_master import socket_path, stop_master
from tej.transport.openssh_mux import MuxClient
from tej.transport.settings import Settings

Connect = Callable[..., Transport]
NEEDED = 9
"""More descriptors than one session needs."""


@pytest.fixture
def ssh(sshd: Sshd, connect: Connect, ssh_config: Path) -> Iterator[Transport]:
    """Yield a transport with a ControlMaster of its own."""
    transport = connect(sshd.destination, transport="openssh")
    transport.run("true")
    yield transport
    stop_master(master_socket(sshd, ssh_config))


def master_socket(sshd: Sshd, config: Path) -> Path:
    settings = Settings(config_file=config)
    return socket_path(read_config(Destination.parse(sshd.destination), settings))


def master_pid(sshd: Sshd, config: Path) -> int:
    with MuxClient(str(master_socket(sshd, config)), 60) as mux:
        return mux.pid()


@contextlib.contextmanager
def few_descriptors(free: int) -> Iterator[None]:
    """Leave this process only `free` descriptors during the `with` block."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    held: list[int] = []
    last = max(map(int, os.listdir("/proc/self/fd"))) + NEEDED + 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (last, limits[1]))
    try:
        with contextlib.suppress(OSError):
            while True:
                held.append(os.dup(0))
        for _ in range(free):
            os.close(held.pop())
        yield
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_lack_of_descriptors_keeps_shared_connection(
    sshd: Sshd, ssh: Transport, ssh_config: Path
) -> None:
    pid = master_pid(sshd, ssh_config)
    errors: list[ConnectionFailed] = []
    for free in range(NEEDED):
        with few_descriptors(free):
            try:
                ssh.run("true")
            except ConnectionFailed as error:
                errors.append(error)
    assert 0 < len(errors) < NEEDED
    assert all("Too many open files" in str(error) for error in errors)
    assert not any(error.permanent for error in errors)
    assert master_pid(sshd, ssh_config) == pid
    assert ssh.run("printf 1").stdout == b"1"


def test_brief_lack_of_descriptors_keeps_shared_connection(
    sshd: Sshd, ssh: Transport, ssh_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = master_pid(sshd, ssh_config)

    def fail(*_: object) -> NoReturn:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(openssh, "MuxClient", fail)
        with pytest.raises(ConnectionFailed, match="cannot open a session on .*open f"):
            ssh.tunnel(("localhost", 1), ("localhost", 1))
    assert master_pid(sshd, ssh_config) == pid


@pytest.mark.parametrize("number", [1, 2])
def test_lack_of_threads_is_connection_failed(
    transport: Transport, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    transport.run("true")
    start = threading.Thread.start
    started: list[str] = []

    def start_some(thread: threading.Thread) -> None:
        started.append(thread.name)
        if len(started) == number:
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start_some)
        with pytest.raises(ConnectionFailed, match="another thread"):
            transport.run("true")
    assert transport.run("printf 1").stdout == b"1"


def test_lack_of_threads_ends_only_one_request(tmp_path: Path) -> None:
    logs: Any = None
    with no_thread("tej logs"), pytest.raises(ConnectionFailed):
        LogThread(logs)
    download = Download(["x"], None, tmp_path, recursive=False, flatten=False)
    with no_thread("tej download"), pytest.raises(ConnectionFailed):
        Unpacking(download)


def test_lack_of_threads_ends_the_waits_that_have_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watching, ended = threading.Event(), threading.Event()

    def ends(_: object, ids: list[str], deadline: None, check: Any) -> Iterator[Any]:
        watching.set()
        with contextlib.suppress(BaseException):
            while True:
                check()
                time.sleep(0.01)
        ended.set()
        yield from ()

    class Queue(SimpleNamespace):
        __hash__ = object.__hash__
        destination_string = "server"

    by_queue: Any = {Queue(number=number): ["a"] for number in range(2)}
    start = threading.Thread.start

    def start_one(thread: threading.Thread) -> None:
        if watching.is_set():
            raise RuntimeError("can't start new thread")
        start(thread)
        watching.wait(60)

    monkeypatch.setattr(as_completed, "_ends_in", ends)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start_one)
        with pytest.raises(ConnectionFailed, match="^server: .*another thread"):
            next(as_completed._merge(by_queue, None, None))
    assert ended.wait(60)


def test_burst_of_clients_keeps_shared_connection(
    sshd: Sshd, ssh: Transport, ssh_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = master_socket(sshd, ssh_config)
    pid = master_pid(sshd, ssh_config)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        os.kill(pid, signal.SIGCONT)

    clock = SimpleNamespace(sleep=sleep, monotonic=time.monotonic)
    with contextlib.ExitStack() as stack:
        os.kill(pid, signal.SIGSTOP)
        stack.callback(os.kill, pid, signal.SIGCONT)
        with contextlib.suppress(BlockingIOError):
            while True:
                client = stack.enter_context(socket.socket(socket.AF_UNIX))
                client.setblocking(False)
                client.connect(str(path))
        monkeypatch.setattr(openssh_mux, "time", clock)
        assert ssh.run("printf 1").stdout == b"1"
    assert slept
    monkeypatch.undo()
    assert master_pid(sshd, ssh_config) == pid


@contextlib.contextmanager
def no_thread(name: str) -> Iterator[None]:
    """Let this process start no thread with this name during the `with` block."""
    start = threading.Thread.start

    def start_others(thread: threading.Thread) -> None:
        if thread.name == name:
            raise RuntimeError("can't start new thread")
        start(thread)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", start_others)
        yield


@pytest.mark.parametrize(
    ("lack", "at_fork", "words"),
    [
        (few_descriptors(0), False, [b"ConnectionFailed", b"1"]),
        (no_thread("tej relay request"), False, [b"ConnectionFailed", b"1"]),
        (no_thread("tej relay"), True, [b"Error", b"Error"]),
    ],
)
def test_child_does_not_wait_for_a_parent_at_its_limits(
    monkeypatch: pytest.MonkeyPatch,
    connect: Connect,
    lack: contextlib.AbstractContextManager[None],
    at_fork: bool,
    words: list[bytes],
) -> None:
    local = connect("local:")
    queue: Any = SimpleNamespace(transport=local)
    process = relay._Process()
    monkeypatch.setattr(relay, "_process", process)
    relay.serve_children(lambda _: queue)
    order, ordered = os.pipe()
    done, report = os.pipe()
    with lack if at_fork else contextlib.nullcontext():
        pid = os.fork()
    if not pid:
        for _ in words:
            os.read(order, 1)
            try:
                said = relay.RelayTransport(()).run("printf 1").stdout
            except BaseException as error:
                said = type(error).__name__.encode()
            os.write(report, said)
        os._exit(0)
    try:
        with contextlib.nullcontext() if at_fork else lack:
            os.write(ordered, b"1")
            assert os.read(done, 99) == words[0]
        os.write(ordered, b"2")
        assert os.read(done, 99) == words[1]
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        for descriptor in (order, ordered, done, report):
            os.close(descriptor)
