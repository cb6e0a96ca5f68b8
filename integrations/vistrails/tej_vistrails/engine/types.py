"""Registry of the engine's module types, and conversion of port values."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from tej_vistrails import init
from tej_vistrails.description import BASIC, TEJ, TEJ_VERSION
from tej_vistrails.engine import basic
from tej_vistrails.engine.errors import PipelineError
from tej_vistrails.engine.module import Module

VERSIONS = {BASIC: basic.VERSION, TEJ: TEJ_VERSION}
"""Versions of the packages in the engine, by package identifier."""
SHORT = {"basic": BASIC, "tej": TEJ}

_MODULES: dict[tuple[str, str], type[Module]] = {
    **{(BASIC, one.__name__): one for one in basic.MODULES},
    **{(TEJ, one.__name__): one for one in init._modules},
}
_CONSTANTS: dict[str, type[basic.Constant]] = {
    one.__name__: one for one in basic.MODULES if issubclass(one, basic.Constant)
}


def find(package: str, name: str, namespace: str = "") -> type[Module]:
    """Return a module type.  Raises PipelineError if the engine has no such type."""
    found = None if namespace else _MODULES.get((package, name))
    own = None if found is None else vars(found).get("_settings")
    if found is None or (own is not None and own.abstract):
        whole = ":".join(filter(None, (package, namespace, name)))
        known = ", ".join(sorted(name for _, name in _MODULES))
        raise PipelineError(
            f"There is no module '{whole}' here, it takes VisTrails; known are: {known}"
        )
    return found


def find_by_word(word: str) -> tuple[str, type[Module]]:
    """Return the package and the module type that `word` specifies.

    `word` is a type such as `SubmitJob`, optionally after a package and a colon, such
    as `tej:SubmitJob`.  Raises PipelineError if the engine has no such type."""
    prefix, colon, name = word.rpartition(":")
    if colon:
        package = SHORT.get(prefix, prefix)
        return package, find(package, name)
    package = TEJ if (TEJ, name) in _MODULES else BASIC
    return package, find(package, name)


def read(types: Sequence[str], values: Sequence[str], where: str) -> Any:
    """Return the value of a port, parsed from VisTrails' notation.

    Raises PipelineError if the values do not have the types of the port."""
    if len(types) != len(values):
        raise PipelineError(f"{where} takes {len(types)} values, not {len(values)}")
    pairs = zip(types, values, strict=True)
    found = tuple(_read(type_, value, where) for type_, value in pairs)
    return found[0] if len(found) == 1 else found


def fits(given: Sequence[str], wanted: Sequence[str]) -> bool:
    """Return True if an output of types `given` may be connected to types `wanted`.

    A list cannot be connected to a port that takes one element of the list.  VisTrails
    executes such a module in a loop, but the engine has no loops."""
    if list(wanted) in (["Variant"], ["Module"]):
        return True
    if len(given) != 1 or len(wanted) != 1:
        return list(given) == list(wanted)
    one, other = _CONSTANTS.get(given[0]), _CONSTANTS.get(wanted[0])
    if one is None or other is None:
        return list(given) == list(wanted)
    return issubclass(one, other)


def _read(type_: str, value: str, where: str) -> Any:
    if type_ not in _CONSTANTS:
        raise PipelineError(f"{where} is a {type_}: it cannot be set, only connected")
    try:
        return _CONSTANTS[type_].translate_to_python(value)
    except (ValueError, KeyError):
        raise PipelineError(f"{where} is a {type_}, which {value!r} is not") from None


def write(value: object, where: str) -> str:
    """Return a value in VisTrails' notation.

    Raises PipelineError if the notation cannot represent the value."""
    if isinstance(value, bool | int | float | str):
        return str(value)
    if isinstance(value, os.PathLike):
        return str(os.fspath(value))
    raise PipelineError(f"{where} cannot be set to {value!r}")
