"""Clocks in tests: a simulated clock, ages of files, and the last check of a host."""

from __future__ import annotations

import os
import time
from pathlib import Path


class SimulatedTime:
    """Replacement for the module `time`: `sleep` returns at once, and advances `now`."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def set_age(seconds: float, *paths: Path) -> None:
    """Set the modification time of files to a number of seconds ago."""
    for path in paths:
        os.utime(path, (time.time() - seconds,) * 2)


def pass_time(facts: Path, seconds: int = 100) -> None:
    """Record that a host checked the job earlier, by the host's own uptime.

    CI runs on machines that were booted a few minutes ago: keep `seconds` small.
    """
    for look in facts.glob(".look.*"):
        uptime, _, rest = look.read_text().partition(" ")
        earlier = int(uptime) - seconds
        assert earlier >= 0, "this host was booted too recently"
        look.write_text(f"{earlier} {rest}")


def expire_heartbeat(facts: Path) -> None:
    """Make a job's heartbeat so old that the job counts as lost."""
    set_age(1000, facts / "heartbeat")
