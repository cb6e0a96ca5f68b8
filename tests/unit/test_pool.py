"""Connection pool, with simulated connections."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from typing import Any

import pytest

from tej import ConnectionFailed
from tej.destination import Destination
from tej.transport import pool
from tej.transport.pool import MAX_CONNECTIONS, MAX_SESSIONS, REFUSED, PooledTransport
from tej.transport.settings import Settings


class Connection:
    """A connection that counts its sessions, and fails as the test demands."""

    where = "server"

    def __init__(self, number: int) -> None:
        self.number = number
        self.fresh = True
        self.alive = True
        self.failures: list[Exception] = []
        self.calls: list[str] = []
        self.tunnels: list[int] = []

    def start(self, start: object) -> Any:
        if self.failures:
            raise self.failures.pop()
        return self

    def tunnel(self, listen: tuple[str, int], target: object) -> None:
        if self.failures:
            raise self.failures.pop()
        self.tunnels.append(listen[1])

    def __getattr__(self, name: str) -> Any:
        if name not in ("close", "replace", "abandon", "disconnect"):
            raise AttributeError(name)
        return lambda: self.calls.append(name)


class Pool(PooledTransport):
    """A pool that opens simulated connections."""

    def __init__(self) -> None:
        super().__init__(Destination.parse("host"), Settings())
        self.opened: list[Connection] = []
        self.errors: list[Exception] = []

    def _connect(self, number: int) -> Any:
        if self.errors:
            raise self.errors.pop()
        self.opened.append(Connection(number))
        return self.opened[-1]

    def session(self) -> AbstractContextManager[tuple[Any, str]]:
        start: Any = None
        return self._process(start)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that a pool has made; a session is never waited for."""
    made: list[float] = []
    monkeypatch.setattr(pool.time, "sleep", made.append)
    monkeypatch.setattr(pool, "SESSION_TIMEOUT", 0.0)
    return made


def refusal() -> ConnectionFailed:
    error = ConnectionFailed("refused")
    error.permanent = True
    return error


BUSY = BlockingIOError("MaxSessions")


def test_connections_are_added_when_all_sessions_are_used(pauses: list[float]) -> None:
    one = Pool()
    with ExitStack() as stack:
        where = [
            stack.enter_context(one.session())[0].number
            for _ in range(MAX_SESSIONS * MAX_CONNECTIONS)
        ]
        assert where == sorted([*range(MAX_CONNECTIONS)] * MAX_SESSIONS)
        assert not one._is_free()
    assert [slot.used for slot in one._slots] == [0] * MAX_CONNECTIONS
    assert one.runs == len(where)
    with one.session() as (connection, name):
        assert (connection.number, name) == (0, "server")
    one.close()
    assert [connection.calls for connection in one.opened] == [["close"]] * 4
    assert pauses == []


def test_refused_session_lowers_the_limit(pauses: list[float]) -> None:
    one = Pool()
    with one.session() as (first, _):
        first.failures = [BUSY]
        # The refused session is opened over a further connection.
        with one.session() as (second, _):
            assert (first.number, second.number) == (0, 1)
        assert [slot.limit for slot in one._slots] == [1, MAX_SESSIONS]
    assert pauses == []


def test_session_of_other_processes_is_awaited(pauses: list[float]) -> None:
    one = Pool()
    one._connected(one._slots[0])
    one.opened[0].failures = [BUSY] * (len(REFUSED) + 1)
    with (
        pytest.raises(ConnectionFailed, match="server refuses to open a session"),
        one.session(),
    ):
        pass
    assert pauses == [*REFUSED]
    # Another process uses the sessions of a connection that has worked before.
    one.opened[0].fresh = False
    one.opened[0].failures = [BUSY] * (len(REFUSED) + 1)
    with one.session() as (connection, _):
        assert connection.number == 1
    assert [slot.limit for slot in one._slots] == [0, MAX_SESSIONS]
    assert pauses == [*REFUSED, *REFUSED]
    one._slots[1].limit = 0
    one.errors = [ConnectionFailed("no login")]
    with pytest.raises(ConnectionFailed, match="connection was opened: no login"):
        one.session().__enter__()
    # The next program tries all connections again.
    assert {slot.limit for slot in one._slots} == {MAX_SESSIONS}
    assert one._may_add
    for slot in one._slots:
        slot.limit = 0
    one._may_add, one._not_added = False, None
    with pytest.raises(ConnectionFailed, match="tej opens at most 4"):
        one.session().__enter__()


def test_lost_connection_is_replaced_once(pauses: list[float]) -> None:
    one = Pool()
    cut = ConnectionFailed("cut")
    one._connected(one._slots[0])
    first = one.opened[0]
    first.failures = [cut]
    # A login that succeeded proves that the host and port are right.
    with pytest.raises(ConnectionFailed) as raised:
        one.session().__enter__()
    assert (raised.value.cut, first.calls) == (True, ["replace"])
    with one.session() as (second, _):
        assert second is one.opened[1]
        assert not second.fresh
    second.failures = [ConnectionFailed("cut")]
    with one.session() as (third, _):
        assert third is one.opened[2]
    assert second.calls == ["replace"]
    third.alive = False
    with one.session() as (fourth, _):
        assert fourth is one.opened[3]
    assert third.calls == ["replace"]
    fourth.alive = False
    one.errors = [refusal()]
    with pytest.raises(ConnectionFailed) as raised:
        one.session().__enter__()
    assert not raised.value.permanent
    unproven = Pool()
    unproven.errors = [refusal()]
    with pytest.raises(ConnectionFailed) as raised:
        unproven.session().__enter__()
    assert raised.value.permanent
    assert unproven._slots[0].used == 0


def test_tunnels_are_opened_again() -> None:
    one = Pool()
    one.tunnel(("", 7), ("here", 1))
    one._connected(one._slots[0])
    assert one.opened[0].tunnels == [7]
    one.opened[0].failures = [ConnectionFailed("taken")]
    with pytest.raises(ConnectionFailed, match=r"server refuses to listen on \*:8"):
        one.tunnel(("", 8), ("here", 1))
    one.opened[0].alive = False
    one._connected(one._slots[0])
    assert one.opened[1].tunnels == [7]
    one.opened[1].failures = [ConnectionFailed("cut")]
    one.opened[1].alive = False
    one._slots[0].connection = None
    one._connected(one._slots[0])
    assert one.opened[2].tunnels == [7]
    one.close()
    one._connected(one._slots[0])
    assert one.opened[3].tunnels == []


def test_child_process_uses_no_connection_of_its_parent() -> None:
    one = Pool()
    connection = one._connected(one._slots[0])
    one._after_fork()
    assert connection.calls == ["abandon"]
    assert one._slots[0].connection is None
    one._connected(one._slots[0])
    one.__del__()
    assert [each.calls for each in one.opened] == [["abandon"], ["disconnect"]]
