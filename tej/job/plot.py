"""Plot of one column of numbers against another, as text for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tej.job.formatting import width_of

Point = tuple[float, float]

MARK = "*"


def as_number(text: str) -> float | None:
    """Return the finite number in `text`, or None."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def draw(
    points: Sequence[Point], x_name: str, y_name: str, width: int, height: int
) -> list[str]:
    """Return a plot of the points as lines of at most `width` columns.

    Several points in the same cell are drawn as one MARK.  The first line shows
    `y_name`, and the last line shows the range of x and `x_name`.
    """
    xs, ys = [x for x, _ in points], [y for _, y in points]
    labels = [f"{max(ys):.4g}", f"{min(ys):.4g}"]
    margin = max(map(len, labels))
    columns, rows = max(width - margin - 3, 8), max(height - 4, 3)
    grid = [[" "] * columns for _ in range(rows)]
    for x, y in points:
        column = _place(x, min(xs), max(xs), columns)
        row = rows - 1 - _place(y, min(ys), max(ys), rows)
        grid[row][column] = MARK
    lines = [y_name]
    for number, cells in enumerate(grid):
        label = {0: labels[0], rows - 1: labels[1]}.get(number, "")
        lines.append(f"{label:>{margin}} |{''.join(cells)}".rstrip())
    lines.append(f"{'':>{margin}} +{'-' * columns}")
    first, last = f"{min(xs):.4g}", f"{max(xs):.4g}"
    room = columns - len(first) - len(last)
    name = x_name if width_of(x_name) + 2 <= room else ""
    space = room - width_of(name)
    middle = " " * (space // 2) + name + " " * (space - space // 2)
    lines.append(f"{'':>{margin}}  {first}{middle}{last}")
    return lines


def _place(value: float, low: float, high: float, count: int) -> int:
    """Return the position of a value among `count` cells from `low` to `high`."""
    if high == low:
        return count // 2
    # Subtract halves of the values, because `high - low` may overflow.
    share = (value / 2 - low / 2) / (high / 2 - low / 2)
    return min(count - 1, round(share * (count - 1)))
