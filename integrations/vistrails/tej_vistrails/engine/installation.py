"""The package as a user package of VisTrails: what it loads, and the words for tej."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from tej_vistrails.client import COMMAND_FILE
from tej_vistrails.engine.errors import PipelineError

PACKAGE = Path(__file__).parents[1]
LOADED_BY_VISTRAILS = (
    "__init__",
    "assembly",
    "client",
    "clients",
    "description",
    "downloads",
    "vistrails_api",
    "init",
    "jobs",
    "managing",
    "queue_address",
    "queues",
    "remote_job",
    "signatures",
    "ports",
    "widgets",
)
"""The files that Python 2.7 reads."""


def install(directory: Path | None = None) -> Path:
    """Copy it to VisTrails' user packages; returns where it is.

    An earlier copy is replaced; anything else of that name is an error.
    """
    folder = directory or Path.home() / ".vistrails" / "userpackages"
    target = folder / "tej_vistrails"
    if target.exists() and not (target / COMMAND_FILE).exists():
        raise PipelineError(f"'{target}' is there, and is not from tej: move it away")
    folder.mkdir(parents=True, exist_ok=True)
    # As VisTrails makes it, should it not have been started yet
    (folder / "__init__.py").touch()
    new = folder / ".tej_vistrails.new"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    for name in LOADED_BY_VISTRAILS:
        shutil.copyfile(PACKAGE / f"{name}.py", new / f"{name}.py")
    command = json.dumps([sys.executable, "-m", "tej"])
    (new / COMMAND_FILE).write_text(command + "\n", "utf-8")
    shutil.rmtree(target, ignore_errors=True)
    new.rename(target)
    return target
