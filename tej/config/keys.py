"""Keys of a profile: check the type and the value of each key in a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from tej.errors import InvalidConfiguration
from tej.transport import TRANSPORTS
from tej.transport.persist import check_persist

Pairs = Iterable[tuple[str, Any]]


def _text(key: str, value: object) -> Pairs:
    if not isinstance(value, str) or not value:
        raise TypeError(f"'{key}' must be a string in quotes, not {value!r}")
    return [(key, value)]


def _flag(key: str, value: object) -> Pairs:
    if not isinstance(value, bool):
        raise TypeError(f"'{key}' must be true or false, not {value!r}")
    return [(key, value)]


def _texts(key: str, value: object) -> Pairs:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise TypeError(f"'{key}' must be a list of strings, not {value!r}")
    return [(key, tuple(value))]


def _transport(key: str, value: object) -> Pairs:
    if value not in TRANSPORTS:
        raise ValueError(f"'{key}' must be {' or '.join(TRANSPORTS)}, not {value!r}")
    return [(key, value)]


def _persist(key: str, value: object) -> Pairs:
    return [(key, check_persist(str(value)))]


def _resources(key: str, value: object) -> Pairs:
    # Few profiles contain resources, so the module is imported only here.
    from tej.job.resources import Resources

    names = [field.name for field in dataclasses.fields(Resources)]
    table = _table(key, value, names)
    for name, one in table.items():
        if not isinstance(one, str | int | list | datetime):
            raise TypeError(f"'{key}.{name}' cannot be {one!r}")
    # Check each value alone here. Resources that depend on each other, such as
    # `mail_on` and `mail`, may be in different files, and are checked together when a
    # job is submitted.
    for name, one in table.items():
        if name != "mail_on":
            Resources(**{name: one})
    return [(f"{key}.{name}", one) for name, one in table.items()]


def _environment(key: str, value: object) -> Pairs:
    pairs = list(_table(key, value).items())
    for name, one in pairs:
        if not isinstance(one, str):
            raise TypeError(f"'{key}.{name}' must be a string in quotes, not {one!r}")
    return [(f"{key}.{name}", one) for name, one in pairs]


def _table(
    key: str, value: object, names: Iterable[str] | None = None
) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"'{key}' must be a table, not {value!r}")
    for name in value:
        if names is not None and name not in names:
            raise ValueError(f"unknown key '{key}.{name}'{nearest(name, names)}")
    return value


KEYS: Mapping[str, Callable[[str, object], Pairs]] = {
    "destination": _text,
    "queue": _text,
    "runtime": _text,
    "transport": _transport,
    "persist": _persist,
    "trust_queue": _flag,
    "results": _texts,
    "ignore": _texts,
    "on_end": _text,
    "shared": _texts,
    "resources": _resources,
    "environment": _environment,
}
"""The keys of a profile, with the function that checks the value of each key."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a hint with the known name most similar to `word`, or with all names."""
    # Only error messages need difflib, so the module is imported here.
    import difflib

    names = sorted(known)
    found = difflib.get_close_matches(word, names, n=1)
    if found:
        return f"; did you mean '{found[0]}'?"
    return f"; the known names are {', '.join(names)}" if names else ""


def check_keys(
    path: Path, section: str, table: Mapping[str, Any], known: Iterable[str]
) -> None:
    """Raise InvalidConfiguration if a table has a key that is not in `known`."""
    for key in table:
        if key not in known:
            where = f" in [{section}]" if section else ""
            raise InvalidConfiguration(
                f"{path}: unknown key '{key}'{where}{nearest(key, known)}"
            )
