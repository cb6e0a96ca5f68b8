"""Job classes that a JSON or YAML document defines in place of a Python file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tej_vistrails.pipeline.errors import PipelineError
from tej_vistrails.pipeline.job import Job, PythonScript
from tej_vistrails.pipeline.library import Directory, File
from tej_vistrails.pipeline.module import LocalPath, Module, Source
from tej_vistrails.pipeline.port_types import SCALARS, Output, PortType, infer_type

KEYS = {
    *("type", "inputs", "outputs", "command", "script", "source", "python", "uploads"),
    *("environment", "version", "login", "resources"),
}
_CLASSES: dict[str, Any] = {**SCALARS, "File": File, "Directory": Directory}


def define_job(
    name: str,
    kind: str,
    words: Mapping[str, Any],
    inputs: Mapping[str, Any],
    folder: Path,
) -> type[Job]:
    """Return the class of a job module whose command is in the document.

    The type of each input port is the type of its value or of the connected output.
    """
    where = f"Module '{name}'"
    unknown = ", ".join(sorted(words.keys() - KEYS))
    if unknown:
        raise PipelineError(f"{where}: unknown key {unknown} (keys: {sorted(KEYS)})")
    hints: dict[str, Any] = {
        port: _hint(_type_of(value, f"{where}, port '{port}'"))
        for port, value in inputs.items()
    }
    outputs = words.get("outputs", {})
    hints.update(dict.fromkeys(outputs, Output))
    settings = {
        key: words[key]
        for key in ("command", "script", "source", "python", "version", "login")
        if key in words
    }
    environment = {
        key: str(value) for key, value in words.get("environment", {}).items()
    }
    body = {
        **outputs,
        **settings,
        "uploads": tuple(words.get("uploads", ())),
        "environment": environment,
        "source_folder": folder,
        "__annotations__": hints,
        "__module__": __name__,
    }
    return type(name, (PythonScript if kind == "PythonScript" else Job,), body)


def _type_of(value: object, where: str) -> PortType:
    if isinstance(value, Module) and len(value.outputs) == 1:
        return next(iter(value.outputs.values()))
    if isinstance(value, Source):
        return value.type
    if isinstance(value, LocalPath):
        return PortType("Directory" if value.path.is_dir() else "File")
    if isinstance(value, list) and value and isinstance(value[0], Module | Source):
        return PortType(_type_of(value[0], where).name, is_list=True)
    return infer_type(value, where)


def _hint(kind: PortType) -> object:
    item = _CLASSES[kind.name]
    return list[item] if kind.is_list else item  # type: ignore[valid-type]
