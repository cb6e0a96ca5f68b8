"""Plots as text."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tej.job.plot import as_number, draw

numbers = st.floats(allow_nan=False, allow_infinity=False)


def test_marks_are_at_the_right_places() -> None:
    points = [(0.0, 0.0), (5.0, 5.0), (10.0, 10.0)]
    assert draw(points, "SEED", "loss", 16, 7) == [
        "loss",
        "10 |          *",
        "   |     *",
        " 0 |*",
        "   +-----------",
        "    0  SEED  10",
    ]


def test_equal_values_are_in_the_middle() -> None:
    lines = draw([(1.0, 2.0)], "x", "y", 14, 7)
    assert lines[2] == "  |     *"


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=20))
def test_any_points_fit(points: list[tuple[float, float]]) -> None:
    lines = draw(points, "x", "y", 40, 10)
    assert len(lines) == 9
    assert max(map(len, lines)) <= 40


def test_only_finite_numbers_are_drawn() -> None:
    assert [as_number(text) for text in ("1e3", "-0.5", "x", "nan", "inf", "")] == [
        *(1000.0, -0.5, None, None, None, None)
    ]
