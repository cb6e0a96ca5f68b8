"""Version number of the tej package and of the server's scripts."""

from __future__ import annotations

import re

__version__ = "1.0.0rc1"

_PHASES = ("dev", "a", "b", "rc", "", "post")


def version_key(version: str) -> tuple[list[int], int, int]:
    """Return a key by which versions are sorted: 1.0.0rc1 comes before 1.0.0.

    Every text has a key, because the version may come from a server.
    """
    parts = re.match(r"(\d+(?:\.\d+)*)?\.?([a-z]*)(\d*)", version)
    assert parts is not None  # Each part of the version may be empty.
    release = [int(number) for number in (parts[1] or "0").split(".")]
    phase = _PHASES.index(parts[2]) if parts[2] in _PHASES else 0
    return release, phase, int(parts[3] or 0)
