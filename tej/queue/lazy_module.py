"""Import of a module on its first use, so that short commands start fast."""

from __future__ import annotations

from importlib import import_module


class LazyModule:
    """A stand-in for a module, which imports the module when an attribute is read."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> object:
        return getattr(import_module(self._name), attribute)
