"""Python files of pipelines and module classes, which are imported by their path."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

import tej
from tej_vistrails.pipeline.errors import PipelineError


def import_file(path: Path) -> ModuleType:
    """Import a Python file that is not in a package.

    The directory of the file is on the import path, as for `python FILE`.
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
    """Describe an error in a Python file, with the last line that was executed."""
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename) == path
    ]
    kind = "" if isinstance(error, tej.Error) else f"{type(error).__name__}: "
    place = f"{path}, line {lines[-1]}" if lines else f"{path}"
    return f"{place}: {kind}{error}"
