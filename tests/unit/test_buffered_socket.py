"""Socket of paramiko: a buffer for reads, and a time limit for stalled sends."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tej.transport.paramiko import buffered_socket
from tej.transport.paramiko.buffered_socket import BufferedSocket


class Socket:
    def __init__(self, *replies: Any) -> None:
        self.replies = [*replies]

    def reply(self, _: object) -> Any:
        found = self.replies.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    send = recv = reply


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(
        buffered_socket, "time", SimpleNamespace(monotonic=lambda: now[0])
    )
    return now


def test_stalled_send_is_repeated_up_to_the_limit(clock: list[float]) -> None:
    full, later = BlockingIOError(), TimeoutError()
    inner: Any = Socket(full, later, 4, full, later, full)
    one = BufferedSocket(inner, 30)
    for clock[0] in (0.0, 30.0):
        with pytest.raises((BlockingIOError, TimeoutError)):
            one.send(b"data")
    clock[0] = 31.0
    assert one.send(b"data") == 4
    for clock[0] in (40.0, 70.0):
        with pytest.raises((BlockingIOError, TimeoutError)):
            one.send(b"data")
    clock[0] = 70.1
    with pytest.raises(ConnectionResetError, match="accepts no data"):
        one.send(b"data")


def test_packets_are_read_from_the_buffer(clock: list[float]) -> None:
    inner: Any = Socket(b"abcde", b"")
    one = BufferedSocket(inner, 30)
    clock[0] = 5.0
    assert one.recv(2) == b"ab"
    clock[0] = 9.0
    assert one.recv(9) == b"cde"
    assert one.last_received == 5
    assert one.recv(9) == b""
    assert one.last_received == 9


def test_forked_child_cannot_use_the_connection(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    inner: Any = Socket(b"ab", 4)
    one = BufferedSocket(inner, 30)
    assert one.recv(1) == b"a"
    monkeypatch.setattr(buffered_socket.os, "getpid", lambda: -1)
    for use in (lambda: one.send(b"data"), lambda: [one.recv(1), one.recv(1)]):
        with pytest.raises(ConnectionResetError):
            use()
    assert inner.replies == [4]
