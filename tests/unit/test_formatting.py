"""Formats for people: durations, relative times, sizes and widths."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from tej.job.formatting import (
    cut,
    format_age,
    format_duration,
    format_size,
    width_of,
)

NOW = datetime(2026, 11, 26, 12, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("seconds", "shown"), [(None, "not started"), (4, "0:04"), (5401.9, "1:30:01")]
)
def test_duration_has_hours_where_needed(seconds: float | None, shown: str) -> None:
    assert format_duration(seconds) == shown


@pytest.mark.parametrize(
    ("ago", "shown"),
    [
        ({"seconds": 0}, "0 s ago"),
        ({"seconds": 59.9}, "59 s ago"),
        ({"minutes": 1}, "1 min ago"),
        ({"minutes": 59}, "59 min ago"),
        ({"hours": 2}, "2 h ago"),
        ({"hours": 1}, "1 h ago"),
        ({"hours": 47}, "47 h ago"),
        ({"hours": 48}, "2 d ago"),
        ({"days": 59}, "59 d ago"),
        ({"days": 60}, "2026-09-27"),
        ({"days": -2}, "2026-11-28"),
    ],
)
def test_age_has_one_unit_or_a_date(ago: dict[str, float], shown: str) -> None:
    assert format_age(NOW - timedelta(**ago), NOW) == shown


def test_unknown_time_has_no_age() -> None:
    assert format_age(None, NOW) == ""
    assert format_age(NOW, None) == f"{NOW.astimezone():%Y-%m-%d}"


@pytest.mark.parametrize(
    ("size", "shown"),
    [(None, ""), (0, "0 B"), (53248, "53.2 kB"), (2**60, "1152.9 PB")],
)
def test_size_has_a_unit(size: int | None, shown: str) -> None:
    assert format_size(size) == shown


def test_wide_characters_count_twice() -> None:
    assert width_of("名前") == 4
    assert width_of("e\u0301") == 1
    assert cut("名前名前", 5) == "名前…"
    assert cut("plain", 5) == "plain"
