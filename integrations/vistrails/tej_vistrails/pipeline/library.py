"""Modules that are not jobs: constants, local files and directories, and `Gather`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tej_vistrails.pipeline.errors import PipelineError
from tej_vistrails.pipeline.module import LocalPath, Module, Source, Value
from tej_vistrails.pipeline.port_types import PortType, infer_type


class Constant(Module):
    """A value that several modules share; its output is `value`."""

    def __init__(self, value: object, *, name: str = "") -> None:
        super().__init__(name=name)
        kind = infer_type(value, f"Module '{self.title}'")
        self.__dict__.update(outputs={"value": kind}, constant=value)

    def output_value(self, port: str) -> Value:
        return self.__dict__["constant"]

    def with_constant(self, value: object) -> Constant:
        """Return a copy of this module with another value of the same type."""
        other = Constant(value, name=self.name)
        if not self.outputs["value"].accepts(other.outputs["value"]):
            raise PipelineError(
                f"Module '{self.title}': expected {self.outputs['value']}, not "
                f"{value!r}"
            )
        return other


class _LocalModule(Module):
    def __init__(self, path: str | os.PathLike[str], *, name: str = "") -> None:
        super().__init__(name=name)
        kind = PortType(type(self).__name__)
        self.__dict__.update(outputs={"path": kind}, local=LocalPath(Path(path)))

    def output_value(self, port: str) -> Value:
        return self.__dict__["local"]


class File(_LocalModule):
    """A file on this machine, and the type of a port for files."""


class Directory(_LocalModule):
    """A directory on this machine, and the type of a port for directories."""


class Gather(Module):
    """Many files as one list, in the order of the arguments; its output is `files`.

    `Gather` connects to a port of type `list[File]`, or to a port of type `Directory`,
    which gets a directory with all files.
    """

    def __init__(self, files: Sequence[Any] = (), *, name: str = "") -> None:
        super().__init__(name=name)
        self.files_in = [*files]
        self.__dict__["outputs"] = {"files": PortType("File", is_list=True)}

    files_in: list[File]

    def output_value(self, port: str) -> Value:
        return [
            one.module.output_value(one.port) if isinstance(one, Source) else one
            for one in self.get("files_in")
        ]
