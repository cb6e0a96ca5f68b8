"""Result values that a job has written to a file: JSON, lines of JSON, or text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping


def parse_metrics(text: str) -> dict[str, str]:
    """Return the values in the content of a file, by name.

    The names in nested JSON objects are joined by dots.  If the file has several lines
    of JSON, only the last line is used, because training programs append a line per
    step.  If the file is not JSON, its last line is the only value, named "value".
    """
    lines = text.strip().splitlines()
    for candidate in (text, lines[-1] if lines else ""):
        try:
            return dict(_flatten(json.loads(candidate)))
        except (ValueError, RecursionError):
            continue
    return {"value": lines[-1].strip()} if lines else {}


def _flatten(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flatten(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, str):
        yield name or "value", value
    elif value is not None:
        yield name or "value", json.dumps(value)
