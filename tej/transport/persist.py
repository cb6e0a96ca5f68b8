"""Idle time after which an unused connection of `ssh` is closed (`persist`)."""

from __future__ import annotations

import re

DEFAULT_PERSIST = "60"
"""Default number of seconds, except for `tej connect` (PERSIST in `cli/connect.py`)."""


def check_persist(time: str) -> str:
    """Return `time`, an idle time in the format of ControlPersist; 0 becomes 1 second.

    Raises ValueError if `time` does not have this format.
    """
    text = str(time)
    if not re.fullmatch(r"([0-9]+[smhdwSMHDW]?)+", text):
        raise ValueError(f"persist: {text!r} is not a time such as 60, 10m or 8h")
    # ssh interprets 0 as no limit; tej interprets 0 as the shortest time.
    return text if re.search(r"[1-9]", text) else "1"
