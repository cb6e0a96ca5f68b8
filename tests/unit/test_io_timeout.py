"""Idle timeout of a program, with a clock that the tests move."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tej.errors import ConnectionFailed
from tej.transport import io_timeout
from tej.transport.io_timeout import IdleTimer
from tej.transport.program_start import Start


@pytest.mark.parametrize("ready", [True, False])
def test_suspended_process_does_not_count_as_idle(
    monkeypatch: pytest.MonkeyPatch, ready: bool
) -> None:
    clock = SimpleNamespace(now=1000.0)
    clock.monotonic = lambda: clock.now
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
