"""Load a pipeline from a document: a `.json`, `.yaml` or `.py` file.

A JSON or YAML document has these keys:

- `pipeline`: the name, by default the name of the file;
- `destination` and `queue`: the defaults for the command line;
- `imports`: Python files with module classes, relative to the document;
- `modules`: a dictionary for each module; `document_parser.py` defines the keys;
- `explore`: values for each parameter.

An input is a value, or `{"from": "MODULE.PORT"}` for a connection.  A `.py` file sets
the variable `pipeline` to a Pipeline or an Exploration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tej
from tej_vistrails.pipeline.document_parser import (
    KEYS,
    check_keys,
    import_file,
    read_document,
)
from tej_vistrails.pipeline.errors import PipelineError
from tej_vistrails.pipeline.graph import Exploration, Pipeline, cycle_error
from tej_vistrails.pipeline.job import Job, PythonScript
from tej_vistrails.pipeline.library import Constant, Directory, File, Gather
from tej_vistrails.pipeline.module import Module, Source
from tej_vistrails.pipeline.port_types import Output, PortType, infer_type

_LOCAL = {"File": File, "Directory": Directory}


@dataclass(frozen=True)
class Document:
    """A pipeline loaded from a file, with its default destination and queue."""

    pipeline: Pipeline | Exploration
    destination: str | None = None
    queue: str | None = None


def load(path: Path) -> Document:
    """Load a pipeline from a file.  Raises PipelineError if the file is not valid."""
    if path.suffix == ".py":
        return _load_python(path)
    document = read_document(path)
    try:
        check_keys(document, "a document", "The document")
        pipeline = _Builder(document, path).build()
    except PipelineError as error:
        raise PipelineError(f"{path}: {error}") from error
    return Document(pipeline, document.get("destination"), document.get("queue"))


def _load_python(path: Path) -> Document:
    module = import_file(path)
    found = getattr(module, "pipeline", None)
    if not isinstance(found, Pipeline | Exploration):
        raise PipelineError(
            f"{path}: the file must set the variable `pipeline` to a Pipeline or an "
            "Exploration"
        )
    destination = getattr(module, "destination", None)
    return Document(found, destination, getattr(module, "queue", None))


class _Builder:
    """Creates the modules of a document, upstream modules first."""

    def __init__(self, document: Mapping[str, Any], path: Path) -> None:
        self.document = document
        self.path = path
        self.folder = path.resolve().parent
        self.classes: dict[str, type[Module]] = {}
        self.built: dict[str, Module] = {}
        self.under_way: list[str] = []

    def build(self) -> Pipeline | Exploration:
        for name in self.document.get("imports", ()):
            module = import_file(self.folder / name)
            for value in vars(module).values():
                if isinstance(value, type) and issubclass(value, Module):
                    self.classes[value.__name__] = value
        modules = [self.module(name) for name in self.document["modules"]]
        pipeline = Pipeline(
            modules, name=str(self.document.get("pipeline", self.path.stem))
        )
        grid = {}
        for name, values in self.document.get("explore", {}).items():
            changed, port = pipeline.find_port(name)
            grid[name] = self._locate(changed.inputs[port].type, values)
        return pipeline.explore(grid) if grid else pipeline

    def module(self, name: str) -> Module:
        """Return the module with this name, which is made at the first call."""
        if name not in self.built:
            self.under_way.append(name)
            self.built[name] = self._make(name)
            self.under_way.pop()
        return self.built[name]

    def _make(self, name: str) -> Module:
        try:
            words = self.document["modules"][name]
        except KeyError:
            raise PipelineError(f"There is no module '{name}'") from None
        where = f"Module '{name}'"
        if not isinstance(words, dict):
            raise PipelineError(f"{where} is not a dictionary")
        kind = words.get("type", "Job")
        is_job = kind in ("Job", "PythonScript")
        default = "a job" if is_job else "a class"
        check_keys(words, kind if kind in KEYS else default, where)
        if kind == "Constant":
            return Constant(words.get("value"), name=name)
        if kind in _LOCAL:
            if "path" not in words:
                raise PipelineError(f"{where}: the key `path` is missing")
            return _LOCAL[kind](self.folder / words["path"], name=name)
        inputs: dict[str, Any] = {
            port: self._value(value, f"{where}, port '{port}'")
            for port, value in words.get("inputs", {}).items()
        }
        if kind == "Gather":
            return Gather(inputs.get("files", []), name=name)
        resources = _resources(words.get("resources"), where)
        if is_job:
            cls = define_job(name, kind, words, inputs, self.folder)
        else:
            cls = self._class(kind, where)
        for port, kind in cls.inputs.items():
            if port in inputs:
                inputs[port] = self._locate(kind.type, inputs[port])
        return cls(name=name, resources=resources, **inputs)

    def _locate(self, kind: PortType, value: Any) -> Any:
        """Return `value`, with paths resolved from the directory of the document."""
        if isinstance(value, list):
            return [self._locate(kind, one) for one in value]
        is_path = kind.is_path and isinstance(value, str)
        return self.path.parent / value if is_path else value

    def _class(self, kind: str, where: str) -> type[Job]:
        found = self.classes.get(kind)
        if found is None or not issubclass(found, Job):
            known = ", ".join(sorted(self.classes)) or "none"
            raise PipelineError(
                f"{where}: there is no job class '{kind}' in the imported files "
                f"(classes: {known})"
            )
        return found

    def _value(self, value: object, where: str) -> object:
        if isinstance(value, list):
            return [self._value(one, where) for one in value]
        if not isinstance(value, dict):
            return value
        if list(value) != ["from"]:
            raise PipelineError(
                f"{where}: {value!r} is not of the form {{from: MODULE.PORT}}"
            )
        name, dot, port = str(value["from"]).rpartition(".")
        upstream = name if dot else port
        if upstream in self.under_way:
            start = self.under_way.index(upstream)
            raise cycle_error(where, self.under_way[start:])
        module = self.module(upstream)
        if not dot:
            return module
        if port not in module.outputs:
            known = ", ".join(module.outputs) or "none"
            raise PipelineError(
                f"{where}: module '{name}' has no output '{port}' (outputs: {known})"
            )
        return getattr(module, port)


def _resources(words: Mapping[str, Any] | None, where: str) -> tej.Resources | None:
    try:
        return tej.Resources(**words) if words else None
    except TypeError as error:
        raise PipelineError(f"{where}, resources: {error}") from None


def define_job(
    name: str,
    kind: str,
    words: Mapping[str, Any],
    inputs: Mapping[str, Any],
    folder: Path,
) -> type[Job]:
    """Return a class for a job module whose command is in the document.

    The type of each input port is the type of its value or of the connected output.
    """
    where = f"Module '{name}'"
    hints: dict[str, Any] = {
        port: _type_of(value, f"{where}, port '{port}'")
        for port, value in inputs.items()
    }
    outputs = words.get("outputs", {})
    hints.update(dict.fromkeys(outputs, Output))
    settings = {
        key: words[key]
        for key in ("command", "script", "source", "python", "version", "login")
        if key in words
    }
    environment = words.get("environment", {})
    for key, value in environment.items():
        # Other types are refused, because YAML reads `yes` without quotes as true, and
        # 1.10 as 1.1.
        if type(value) not in (str, int):
            raise PipelineError(
                f"{where}, environment: the value of {key} must be text, not "
                f"{value!r}: put the value in quotes"
            )
    body = {
        **outputs,
        **settings,
        "uploads": tuple(words.get("uploads", ())),
        "environment": {key: str(value) for key, value in environment.items()},
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
    if isinstance(value, list) and value and isinstance(value[0], Module | Source):
        return PortType(_type_of(value[0], where).name, is_list=True)
    return infer_type(value, where)
