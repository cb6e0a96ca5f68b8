"""Reading of pipelines from JSON documents.  An example of such a document:

    {
      "signatures": "content",
      "modules": {
        "queue": {"type": "tej:Queue", "inputs": {"hostname": "user@server"}},
        "job": {"type": "tej:SubmitJob", "inputs": {"script": "run.sh"},
                "files": ["run.sh"]},
        ...
      },
      "connections": [["queue.queue", "job.queue"], ["script.out_value", "job.run.sh"]]
    }

Each of the `inputs` is a value, or a list of values if the port takes several values.
`files` adds an input port for each named file to the module.  `signatures` is optional.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tej_vistrails.engine.errors import PipelineError

if TYPE_CHECKING:
    from tej_vistrails.engine.graph import Graph, Node

Made = TypeVar("Made", bound="Graph")
_KEYS = {"signatures", "modules", "connections"}
_MODULE_KEYS = {"type", "inputs", "files"}
_KINDS: dict[type, str] = {dict: "an object", list: "a list", str: "text"}


def load(make: type[Made], path: str | os.PathLike[str]) -> Made:
    """Return the pipeline in a JSON file.  Raises PipelineError for an invalid file."""
    try:
        document = json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise PipelineError(f"'{os.fspath(path)}' cannot be read: {error}") from error
    return parse(make, document)


def parse(make: type[Made], document: Any) -> Made:
    """Return the pipeline that a JSON document describes.

    Raises PipelineError if the document is invalid."""
    _check(document, _KEYS, "A pipeline")
    scheme = document.get("signatures")
    if scheme is not None:
        _take(scheme, str, "'signatures'")
    pipeline = make(scheme)
    for name, module in _take(document.get("modules", {}), dict, "'modules'").items():
        _add(pipeline, name, module)
    # Connections refer to modules by name, so all modules are added first.
    for connection in _take(document.get("connections", []), list, "'connections'"):
        if not isinstance(connection, list) or list(map(type, connection)) != [str] * 2:
            raise PipelineError(
                f"{connection!r} is no connection: it has a source and a target"
            )
        source, target = connection
        node, port = _find(pipeline, source)
        pipeline.connect(node[port], *_find(pipeline, target))
    return pipeline


def _add(pipeline: Graph, name: str, module: Any) -> None:
    what = f"Module '{name}'"
    _check(module, _MODULE_KEYS, what)
    if "type" not in module:
        raise PipelineError(f"{what} has no type")
    files = _take(module.get("files", []), list, f"'files' of module '{name}'")
    pipeline.add_module(
        _take(module["type"], str, f"'type' of module '{name}'"),
        name,
        [_take(one, str, f"One of the 'files' of module '{name}'") for one in files],
        _take(module.get("inputs", {}), dict, f"'inputs' of module '{name}'"),
    )


def _take(value: Any, kind: type, what: str) -> Any:
    if not isinstance(value, kind):
        raise PipelineError(f"{what} is {_KINDS[kind]}, not {value!r}")
    return value


def _check(document: Any, keys: set[str], what: str) -> None:
    for key in _take(document, dict, what):
        if key not in keys:
            known = ", ".join(sorted(keys))
            raise PipelineError(f"{what} has no '{key}'; it has {known}")


def _find(pipeline: Graph, word: str) -> tuple[Node, str]:
    """Return the module and the port named by `word`, in the form `module.port`.

    The name of the port may contain dots; the name of the module must not."""
    name, _, port = word.partition(".")
    if name not in pipeline.nodes:
        raise PipelineError(f"'{word}' leads to no module: there is no '{name}'")
    return pipeline.nodes[name], port
