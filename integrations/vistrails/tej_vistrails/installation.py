"""Installation of `tej_vistrails` as a user package of VisTrails."""

from __future__ import annotations

import json
import shutil
import sys
import sysconfig
from pathlib import Path

from tej_vistrails.client import COMMAND_FILE
from tej_vistrails.pipeline.errors import PipelineError

PACKAGE = Path(__file__).parent
NOT_LOADED = {"__main__", "installation"}
LOADED_BY_VISTRAILS = {path.stem for path in PACKAGE.glob("*.py")} - NOT_LOADED
"""Names of the Python modules that VisTrails loads and that must run in Python 2.7."""


def find_tej() -> list[str]:
    """Return the command line of `tej` for VisTrails.

    The console script is preferred, because `python -m tej` would also import modules
    from the current directory.
    """
    scripts = Path(sysconfig.get_path("scripts"))
    script = shutil.which("tej", path=str(scripts))
    return [script] if script else [sys.executable, "-m", "tej"]


def install(directory: Path | None = None) -> Path:
    """Copy the package to VisTrails' user packages; return the path of the copy.

    Replaces an earlier copy.  Raises PipelineError if the user packages contain another
    package that is called `tej_vistrails`.
    """
    folder = directory or Path.home() / ".vistrails" / "userpackages"
    target = folder / "tej_vistrails"
    if target.exists() and not (target / COMMAND_FILE).exists():
        raise PipelineError(
            f"'{target}' exists and was not installed by tej: rename it"
        )
    folder.mkdir(parents=True, exist_ok=True)
    # Create this file, because VisTrails creates it only when VisTrails is first
    # started.
    (folder / "__init__.py").touch()
    new = folder / ".tej_vistrails.new"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    for name in LOADED_BY_VISTRAILS:
        shutil.copyfile(PACKAGE / f"{name}.py", new / f"{name}.py")
    (new / COMMAND_FILE).write_text(json.dumps(find_tej()) + "\n", "utf-8")
    shutil.rmtree(target, ignore_errors=True)
    new.rename(target)
    return target
