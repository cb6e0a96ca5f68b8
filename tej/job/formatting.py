"""Human-readable formats: durations, relative times, sizes, widths in a terminal."""

from __future__ import annotations

from datetime import datetime


def format_duration(seconds: float | None) -> str:
    """Format a duration as M:SS or H:MM:SS; returns "not started" for None."""
    if seconds is None:
        return "not started"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def format_age(time: datetime | None, now: datetime | None) -> str:
    """Return how long ago `time` was, such as "2 h ago"; "" if `time` is None.

    `time` and `now` must be of the same clock.  If `now` is unknown, or `time` is more
    than 60 days ago or in the future, the date is returned.
    """
    if time is None:
        return ""
    seconds = -1.0 if now is None else (now - time).total_seconds()
    for unit, length, limit in (
        ("s", 1, 60),
        ("min", 60, 3600),
        ("h", 3600, 48 * 3600),
        ("d", 86400, 60 * 86400),
    ):
        if 0 <= seconds < limit:
            return f"{int(seconds // length)} {unit} ago"
    return f"{time.astimezone():%Y-%m-%d}"


def format_size(size: int | None) -> str:
    """Return a number of bytes with a unit, such as "1.5 MB"; "" for None."""
    if size is None:
        return ""
    number, units = float(size), ["kB", "MB", "GB", "TB", "PB"]
    if number < 1000:
        return f"{size} B"
    while number >= 1000 and units:
        number, unit = number / 1000, units.pop(0)
    return f"{number:.1f} {unit}"


def width_of(text: str) -> int:
    """Return the number of terminal columns that `text` occupies."""
    if text.isascii():
        return len(text)
    # Few commands print a table, so the module is imported only here.
    import unicodedata

    return sum(
        0
        if unicodedata.combining(one)
        else 2
        if unicodedata.east_asian_width(one) in "WF"
        else 1
        for one in text
    )


def cut(text: str, width: int) -> str:
    """Return `text`, cut to `width` terminal columns with an ellipsis at the end."""
    if width_of(text) <= width:
        return text
    while text and width_of(text) > width - 1:
        text = text[:-1]
    return text + "…"
