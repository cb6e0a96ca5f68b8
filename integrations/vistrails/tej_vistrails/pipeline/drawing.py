"""Drawing of a pipeline as SVG: a box for each module, coloured by its state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from tej_vistrails.pipeline.graph import Pipeline
from tej_vistrails.pipeline.module import Module
from tej_vistrails.pipeline.plan import Plan
from tej_vistrails.pipeline.step_state import Step, StepState

COLOURS = {
    StepState.FAILED: "#c62828",
    StepState.NOT_STARTED: "#ef6c00",
    StepState.RUNNING: "#1565c0",
    StepState.QUEUED: "#7e9cc4",
    StepState.ABSENT: "#9e9e9e",
    StepState.SUCCEEDED: "#2e7d32",
    StepState.NOT_NEEDED: "#bdbdbd",
}
"""Colour of each state.

If the jobs of a module have several states, the module has the colour of the state that
comes first in this table.
"""

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _MARGIN = 168, 58, 64, 22, 12
_NAME_CHARACTERS = 20


@dataclass(frozen=True)
class Box:
    """The position of a module in the drawing."""

    module: Module
    x: int
    y: int


def count_states(
    plan: Plan, steps: Mapping[str, Step]
) -> dict[str, Counter[StepState]]:
    """Return the number of jobs in each state, by the name of the module.

    A job that several points of an exploration share is counted once.
    """
    ids: dict[str, set[str]] = {}
    for point in plan.points:
        for name, job_id in point.ids.items():
            ids.setdefault(name, set()).add(job_id)
    return {
        name: Counter(steps[one].state for one in found) for name, found in ids.items()
    }


def draw(
    pipeline: Pipeline, states: Mapping[str, Counter[StepState]] | None = None
) -> str:
    """Return the drawing of a pipeline as an SVG document.

    `states` maps the name of each module to the number of jobs in each state.
    """
    boxes = _place(pipeline.modules)
    width = max(box.x for box in boxes.values()) + _WIDTH + _MARGIN
    height = max(box.y for box in boxes.values()) + _HEIGHT + _MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" font-family="sans-serif">',
        f"<title>Pipeline {escape(pipeline.name)}</title>",
    ]
    for module, box in boxes.items():
        for port, source in module.sources():
            parts.append(_edge(boxes[source.module], box, f"{source} → {port}"))
    for box in boxes.values():
        parts += _box(box, (states or {}).get(box.module.name, Counter()))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _place(modules: Sequence[Module]) -> dict[Module, Box]:
    """Place each module one column to the right of its rightmost upstream module."""
    columns: dict[Module, int] = {}
    rows: dict[Module, float] = {}
    for module in modules:
        before = [source.module for _, source in module.sources()]
        columns[module] = 1 + max((columns[one] for one in before), default=-1)
    # A module without inputs is placed in the column before the first module that uses
    # its output.
    for module in modules:
        users = [
            columns[one]
            for one in modules
            if any(source.module is module for _, source in one.sources())
        ]
        if users and not [*module.sources()]:
            columns[module] = max(0, min(users) - 1)
    boxes: dict[Module, Box] = {}
    for column in sorted(set(columns.values())):
        members = [one for one in modules if columns[one] == column]
        members.sort(key=lambda one: _mean(rows, one))
        for row, module in enumerate(members):
            rows[module] = row
            boxes[module] = Box(
                module,
                _MARGIN + column * (_WIDTH + _GAP_X),
                _MARGIN + row * (_HEIGHT + _GAP_Y),
            )
    return {module: boxes[module] for module in modules}


def _mean(rows: Mapping[Module, float], module: Module) -> float:
    found = [rows[one.module] for _, one in module.sources() if one.module in rows]
    return sum(found) / len(found) if found else len(rows)


def _edge(start: Box, end: Box, title: str) -> str:
    x, y = start.x + _WIDTH, start.y + _HEIGHT // 2
    to_x, to_y = end.x, end.y + _HEIGHT // 2
    bend = (to_x - x) // 2
    return (
        f'<path d="M{x} {y} C{x + bend} {y} {to_x - bend} {to_y} {to_x} {to_y}" '
        f'fill="none" stroke="#78909c" stroke-width="1.5"><title>{escape(title)}'
        "</title></path>"
    )


def _box(box: Box, states: Counter[StepState]) -> Iterable[str]:
    module = box.module
    colour = next((COLOURS[one] for one in COLOURS if states[one]), "#607d8b")
    fill = "#ffffff" if module.is_job else "#eceff1"
    name = module.name
    if len(name) > _NAME_CHARACTERS:
        name = name[: _NAME_CHARACTERS - 1] + "…"
    yield f'<g class="module" transform="translate({box.x} {box.y})">'
    yield f"<title>{escape(f'{module.name} ({type(module).__name__})')}</title>"
    yield (
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" rx="6" fill="{fill}" '
        f'stroke="{colour}" stroke-width="2"/>'
    )
    yield (
        '<text class="name" x="10" y="21" font-size="14" font-weight="bold">'
        f"{escape(name)}</text>"
    )
    words = describe_counts(states) or type(module).__name__
    yield (
        '<text class="note" x="10" y="38" font-size="11" fill="#555555">'
        f"{escape(words)}</text>"
    )
    total, x = sum(states.values()), 10.0
    for state, bar in COLOURS.items():
        if states[state]:
            width = (_WIDTH - 20) * states[state] / total
            yield (
                f'<rect x="{x:.1f}" y="46" width="{width:.1f}" height="5" '
                f'fill="{bar}"/>'
            )
            x += width
    yield "</g>"


def describe_counts(counts: Counter[StepState]) -> str:
    """Return the number of jobs in each state, such as "3 succeeded, 1 failed"."""
    present = [one for one in COLOURS if counts[one]]
    if sum(counts.values()) == 1:
        return present[0].value
    return ", ".join(f"{counts[one]} {one.value}" for one in present)
