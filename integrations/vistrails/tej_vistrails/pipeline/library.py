"""Modules that are not jobs: constants, local files and directories, and `Gather`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from tej_vistrails.pipeline.module import InputPort, Module, Value
from tej_vistrails.pipeline.port_types import PortType, infer_type


class ValueModule(Module):
    """A module whose only input port has the same name and value as its output."""

    def __init__(self, port: str, kind: PortType, value: object, name: str) -> None:
        super().__init__(name=name)
        ports = {"inputs": {port: InputPort(port, kind)}, "outputs": {port: kind}}
        self.__dict__.update(ports)
        setattr(self, port, value)

    def output_value(self, port: str) -> Value:
        return self.get(port)


class Constant(ValueModule):
    """A value that several modules share; its output is `value`."""

    def __init__(self, value: object, *, name: str = "") -> None:
        kind = infer_type(value, f"Module '{name or 'Constant'}'")
        super().__init__("value", kind, value, name)


class _LocalModule(ValueModule):
    def __init__(self, path: str | os.PathLike[str], *, name: str = "") -> None:
        super().__init__("path", PortType(type(self).__name__), path, name)


class File(_LocalModule):
    """A local file.  The class is also the type of ports for files."""


class Directory(_LocalModule):
    """A local directory.  The class is also the type of ports for directories."""


class Gather(ValueModule):
    """Many files as one list, in the order of the arguments; its output is `files`.

    `Gather` connects to a port of type `list[File]`, or to a port of type `Directory`,
    which gets a directory with all files.
    """

    def __init__(self, files: Sequence[Any] = (), *, name: str = "") -> None:
        super().__init__("files", PortType("File", is_list=True), [*files], name)
