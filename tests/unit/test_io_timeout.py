"""Idle timeout of a program, with a clock that the tests move."""

from __future__ import annotations

import pytest
from clocks import SimulatedTime

from tej.errors import ConnectionFailed
from tej.transport import io_timeout
from tej.transport.io_timeout import IdleTimer
from tej.transport.program_start import Start


@pytest.mark.parametrize("ready", [True, False])
def test_suspended_process_does_not_count_as_idle(
    monkeypatch: pytest.MonkeyPatch, ready: bool
) -> None:
    clock = SimulatedTime(1000.0)
    start = Start("true")
    start.running = ready
    if ready:
        start._ready_at = clock.now
    monkeypatch.setattr(io_timeout, "time", clock)
    timer = IdleTimer("server", 120, start)
    clock.now += 1
    timer.check()
    clock.now += 3600
    timer.check()
    for _ in range(119 - (not ready)):
        clock.now += 1
        timer.check()
    clock.now += 1
    with pytest.raises(ConnectionFailed, match="120 s"):
        timer.check()


def test_slow_server_is_reported_once_a_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = SimulatedTime()
    monkeypatch.setattr(io_timeout, "time", clock)
    monkeypatch.setattr(io_timeout, "_last_warnings", {})
    timers = [IdleTimer(name, 120, Start("true")) for name in "abaa"]
    for _ in range(70):
        clock.sleep(1)
        for timer in timers:
            timer.check()
    assert [one.args[0] for one in caplog.records] == ["a", "b"]
    timer = IdleTimer("a", 120, Start("true"))
    for _ in range(7):
        clock.sleep(1)
        timer.check()
    assert [one.args[0] for one in caplog.records] == ["a", "b", "a"]
