"""`Module`: a step of a pipeline, with typed input ports and with outputs."""

from __future__ import annotations

import inspect
import os
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tej_vistrails.pipeline.errors import PipelineError
from tej_vistrails.pipeline.port_types import (
    PortType,
    check_output_path,
    read_annotation,
)

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z")
_RESERVED = ("name", "port_values", "resources")
MISSING: Any = object()
"""The default of an input port that has no default value."""


@dataclass(frozen=True)
class InputPort:
    """An input port of a module class."""

    name: str
    type: PortType
    default: Any = MISSING

    @property
    def is_required(self) -> bool:
        """Whether the port needs a value or a connection."""
        return self.default is MISSING and not self.type.is_optional


@dataclass(frozen=True, eq=False)
class Source:
    """An output of a module, which can be connected to input ports."""

    module: Module
    port: str
    type: PortType

    def __str__(self) -> str:
        return f"{self.module.name}.{self.port}"


@dataclass(frozen=True)
class JobOutput:
    """A file or directory that a job writes, by its path in the job's directory."""

    job: Module
    path: str


Value = Any
"""Value on a port: a scalar, a local Path, JobOutput, Source, or a tuple of these.

A list is stored as a tuple, because a later change of the list would not be checked.
"""


class Module:
    """A step of a pipeline: the base of all modules.

    The annotations of a subclass are its input ports, and `Output` marks its outputs.
    The constructor takes values and connections by the names of the input ports, and
    the reserved names `name` and `resources`.  An input port can also be set
    later, by assignment: `module.port = value`.  Each value is checked when it is set.
    """

    inputs: ClassVar[dict[str, InputPort]] = {}
    outputs: ClassVar[dict[str, PortType]] = {}
    output_paths: ClassVar[dict[str, str]] = {}
    is_job: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        _declare_ports(cls)

    def __init__(self, *, name: str = "", **ports: object) -> None:
        if name and not _NAME.match(name):
            raise PipelineError(
                f"{name!r} is not a valid module name: use letters, digits, _ and -"
            )
        self.__dict__.update(name=name, port_values={})
        for port, value in ports.items():
            setattr(self, port, value)

    name: str
    port_values: dict[str, Value]
    """Values and `Source`s of the input ports that were set."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    @property
    def title(self) -> str:
        """Name of the module in messages: its own name, or the name of its class."""
        return self.name or type(self).__name__

    def __getattr__(self, port: str) -> Any:
        if port.startswith("__"):
            raise AttributeError(port)
        if port in self.outputs:
            return Source(self, port, self.outputs[port])
        if port in self.inputs:
            return self.get(port)
        raise AttributeError(f"Module '{self.title}' has no port '{port}'")

    def __setattr__(self, port: str, value: object) -> None:
        if port not in self.inputs:
            known = ", ".join(self.inputs) or "none"
            raise PipelineError(
                f"Module '{self.title}' has no input port '{port}' (input ports: "
                f"{known})"
            )
        self.port_values[port] = self.check_value(self.inputs[port], value)

    def get(self, port: str) -> Value:
        """Return the value of an input port, or the default of the port.

        Without a value and a default, return None for an optional type, or else
        MISSING.
        """
        found = self.inputs[port]
        if port in self.port_values or found.default is MISSING:
            return self.port_values.get(
                port, None if found.type.is_optional else MISSING
            )
        return self.check_value(found, found.default)

    def sources(self) -> Iterator[tuple[str, Source]]:
        """Yield the connections of this module: the input port and the source."""
        for port, value in self.port_values.items():
            for one in value if isinstance(value, tuple) else [value]:
                if isinstance(one, Source):
                    yield port, one

    def output_value(self, port: str) -> Value:
        """Return the value of an output."""
        raise NotImplementedError

    def with_values(self, values: Mapping[str, object]) -> Module:
        """Return a copy of this module with different values on some ports."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__, port_values={**self.port_values})
        for port, value in values.items():
            setattr(other, port, value)
        return other

    def check_value(self, port: InputPort, value: object) -> Value:
        """Return the value for a port; raise PipelineError if its type is wrong."""
        return _convert(port.type, value, f"Module '{self.title}', port '{port.name}'")


def _convert(kind: PortType, value: object, where: str) -> Value:
    """Return the value for a port; raise PipelineError if its type is wrong."""
    try:
        return _convert_value(kind, value)
    except TypeError as error:
        raise PipelineError(f"{where}: {error}") from None


def _convert_value(wanted: PortType, value: object) -> Value:
    if isinstance(value, Module):
        if len(value.outputs) != 1:
            names = ", ".join(value.outputs) or "none"
            raise TypeError(
                f"module '{value.title}' does not have exactly one output: name the "
                f"output ({names})"
            )
        value = getattr(value, next(iter(value.outputs)))
    if value is None and wanted.is_optional:
        return None
    if isinstance(value, Source):
        if not wanted.accepts(value.type):
            raise TypeError(
                f"expected {wanted}, but output '{value.port}' of module "
                f"'{value.module.title}' is of type {value.type}"
            )
        return value
    if wanted.is_list:
        if isinstance(value, str | bytes) or not isinstance(value, Sequence):
            raise TypeError(f"{value!r} is not a list")
        return tuple(_convert_value(wanted.item, one) for one in value)
    if not wanted.is_path:
        return wanted.convert(value)
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"{value!r} is not a path")
    return Path(value)


def _declare_ports(cls: type[Module]) -> None:
    """Read the ports of a module class from its annotations.

    The defaults are removed from the class, because a class attribute would hide the
    port of an instance.
    """
    try:
        own = inspect.get_annotations(cls)
        hints = typing.get_type_hints(cls, include_extras=True)
    except NameError as error:
        raise PipelineError(f"Module class {cls.__name__}: {error}") from None
    cls.inputs, cls.outputs = {**cls.inputs}, {**cls.outputs}
    cls.output_paths = {**cls.output_paths}
    for name in own:
        hint = hints[name]
        if hint is not ClassVar and typing.get_origin(hint) is not ClassVar:
            _declare_port(cls, name, hint)


def _declare_port(cls: type[Module], name: str, hint: object) -> None:
    where = f"Port '{name}' of module class {cls.__name__}"
    # Ports have been removed from the attributes of the base classes, so a subclass may
    # declare a port again. All other attributes of the base classes are used by
    # modules, so a port must not replace them.
    if name in _RESERVED or any(name in base.__dict__ for base in cls.__mro__[1:]):
        raise PipelineError(
            f"{where} has a reserved name, which modules use: rename the port"
        )
    default = cls.__dict__.get(name, MISSING)
    kind = read_annotation(hint, where)
    if kind is None:
        path = check_output_path(default, where)
        cls.output_paths[name] = path
        cls.outputs[name] = PortType("Directory" if path[-1] == "/" else "File")
    else:
        if default is not MISSING:
            default = _convert(kind, default, where)
        cls.inputs[name] = InputPort(name, kind, default)
    if name in cls.__dict__:
        delattr(cls, name)
