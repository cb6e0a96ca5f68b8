"""Clocks that tests move: the age of a job's files, and of another host's last look."""

from __future__ import annotations

import os
import time
from pathlib import Path


def set_age(seconds: float, *paths: Path) -> None:
    """As if these were last written that long ago."""
    for path in paths:
        os.utime(path, (time.time() - seconds,) * 2)


def pass_time(facts: Path, seconds: int = 100) -> None:
    """As if a host had looked at the job that much earlier, by its own uptime."""
    for look in facts.glob(".look.*"):
        uptime, _, rest = look.read_text().partition(" ")
        look.write_text(f"{max(0, int(uptime) - seconds)} {rest}")


def fall_silent(facts: Path) -> None:
    """The heartbeat of a job has the age at which it is given up."""
    set_age(1000, facts / "heartbeat")
