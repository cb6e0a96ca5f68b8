"""Parser of documents: JSON, YAML and Python files, with checks of keys and types."""

from __future__ import annotations

import importlib.util
import json
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import tej
from tej_vistrails.pipeline.errors import PipelineError

_WORD = (str, int, float)
KEYS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "a document": {
        "pipeline": _WORD,
        "destination": str,
        "queue": str,
        "imports": list,
        "modules": dict,
        "explore": dict,
    },
    "Constant": {"type": str, "value": object},
    "File": {"type": str, "path": str},
    "Directory": {"type": str, "path": str},
    "Gather": {"type": str, "inputs": dict},
    "a class": {"type": str, "inputs": dict, "resources": dict},
    "a job": {
        "type": str,
        "inputs": dict,
        "outputs": dict,
        "command": str,
        "script": str,
        "source": str,
        "python": str,
        "uploads": list,
        "environment": dict,
        "version": _WORD,
        "login": bool,
        "resources": dict,
    },
}
"""The keys of each kind of dictionary in a document, with the types of the values."""
_TYPE_NAMES: dict[object, str] = {
    dict: "a dictionary",
    list: "a list",
    bool: "true or false",
}
_TEXT_TAGS = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge")


def read_document(path: Path) -> dict[str, Any]:
    """Return the document in a `.json` or `.yaml` file.

    Raises PipelineError if the file cannot be read or is not a document.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeError) as error:
        raise PipelineError(f"{path} cannot be read: {error}") from error
    try:
        document = _parse_yaml(text) if path.suffix != ".json" else _parse_json(text)
    except ValueError as error:
        raise PipelineError(f"{path} is not valid: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("modules"), dict):
        raise PipelineError(f"{path}: the document must have a dictionary `modules`")
    return document


def _parse_json(text: str) -> object:
    def collect(pairs: list[tuple[str, object]]) -> dict[str, object]:
        _refuse_duplicates([key for key, _ in pairs])
        return dict(pairs)

    return json.loads(text, object_pairs_hook=collect)


def _refuse_duplicates(keys: Sequence[str]) -> None:
    """Raise ValueError if a key occurs twice: a parser would ignore the first value."""
    for key in keys:
        if keys.count(key) > 1:
            raise ValueError(f"the key '{key}' occurs twice")


def _parse_yaml(text: str) -> object:
    try:
        import yaml
    except ImportError:
        raise PipelineError(
            "YAML documents need the package PyYAML: pip install tej[vistrails]"
        ) from None

    class Loader(yaml.SafeLoader):
        def compose_mapping_node(self, anchor: Any) -> Any:
            node = super().compose_mapping_node(anchor)
            keys = [key for key, _ in node.value]
            for key in keys:
                # Other types are refused, because YAML reads keys such as `no` and `on`
                # as true or false.
                if key.tag not in _TEXT_TAGS:
                    raise ValueError(
                        f"the key {key.value} is not text: put it in quotes"
                    )
            _refuse_duplicates([key.value for key in keys])
            return node

    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def check_keys(words: Mapping[str, Any], kind: str, where: str) -> None:
    """Raise PipelineError if a key is unknown, or if its value has the wrong type."""
    known = KEYS[kind]
    for key, value in words.items():
        if key not in known:
            names = ", ".join(known)
            raise PipelineError(f"{where}: unknown key {key} (keys: {names})")
        if not isinstance(value, known[key]):
            wanted = _TYPE_NAMES.get(known[key], "text")
            raise PipelineError(f"{where}: {key} must be {wanted}, not {value!r}")


def import_file(path: Path) -> ModuleType:
    """Import a Python file that is not in a package.

    The directory of the file is added to the import path, as by `python FILE`.  Raises
    PipelineError if the file does not exist or its code raises an exception.
    """
    name = f"tej_pipeline_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise PipelineError(f"{path} cannot be imported: there is no such Python file")
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    module = importlib.util.module_from_spec(spec)
    # `inspect` finds the source of classes only if their module is in `sys.modules`.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise PipelineError(_describe_failure(path, error)) from error
    return module


def _describe_failure(path: Path, error: Exception) -> str:
    """Describe an error in a Python file, with the last line of the file that ran."""
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename) == path
    ]
    kind = "" if isinstance(error, tej.Error) else f"{type(error).__name__}: "
    place = f"{path}, line {lines[-1]}" if lines else f"{path}"
    return f"{place}: {kind}{error}"
