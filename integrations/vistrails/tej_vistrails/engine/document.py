"""A pipeline in JSON:

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

An input is a value, or a list of values for a port that takes several.  `files` are
ports that only this module has, named like the files.  `signatures` may be left out.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tej_vistrails.engine.errors import PipelineError

if TYPE_CHECKING:
    from tej_vistrails.engine.pipeline import Node, Pipeline

Made = TypeVar("Made", bound="Pipeline")
_KEYS = {"signatures", "modules", "connections"}
_MODULE_KEYS = {"type", "inputs", "files"}


def load(make: type[Made], path: str | os.PathLike[str]) -> Made:
    """The pipeline in a file; raises PipelineError."""
    try:
        document = json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise PipelineError(f"'{os.fspath(path)}' cannot be read: {error}") from error
    return parse(make, document)


def parse(make: type[Made], document: Any) -> Made:
    """The pipeline in a document; raises PipelineError."""
    _check(document, _KEYS, "A pipeline")
    pipeline = make(document.get("signatures"))
    modules = document.get("modules", {})
    for name, module in modules.items():
        _check(module, _MODULE_KEYS, f"Module '{name}'")
        if "type" not in module:
            raise PipelineError(f"Module '{name}' has no type")
        # Values alone: connections come when all modules are there.
        pipeline.add(
            module["type"],
            name,
            files=module.get("files", []),
            **module.get("inputs", {}),
        )
    for connection in document.get("connections", []):
        try:
            source, target = connection
        except ValueError:
            raise PipelineError(
                f"{connection!r} is no connection: it has a source and a target"
            ) from None
        node, port = _find(pipeline, source)
        pipeline.connect(node[port], *_find(pipeline, target))
    return pipeline


def _check(document: Any, keys: set[str], what: str) -> None:
    if not isinstance(document, dict):
        raise PipelineError(f"{what} is an object, not {document!r}")
    for key in document:
        if key not in keys:
            known = ", ".join(sorted(keys))
            raise PipelineError(f"{what} has no '{key}'; it has {known}")


def _find(pipeline: Pipeline, word: str) -> tuple[Node, str]:
    """`module.port`; what comes after the first dot may have dots in it."""
    name, _, port = word.partition(".")
    if name not in pipeline.nodes:
        raise PipelineError(f"'{word}' leads to no module: there is no '{name}'")
    return pipeline.nodes[name], port
