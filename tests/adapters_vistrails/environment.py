"""Environment of Python 2.7 with VisTrails 2.2.4, kept in the user's cache.

The first use creates the environment, which takes a minute and needs the network.
`TEJ_TEST_VISTRAILS` can be the path of a Python in an environment made by hand.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

VIRTUALENV = "virtualenv==20.21.1"
"""The last version of virtualenv that supports Python 2.7."""
VISTRAILS = "vistrails==2.2.4"
"""Installed without dependencies, most of which are for VisTrails' window."""
NEEDED = ("numpy==1.16.6", "scipy==1.2.3", "requests==2.27.1", "usagestats==1.0.1")
ORIGINAL = ("tej==0.6", "paramiko==2.12.0")
"""Packages for which VisTrails' own package for tej was made."""
LIMIT = 280
"""Time limit of a step in seconds, which is below that of a test."""


HOME = Path.home()
"""The original value, before a test replaced it."""


class CannotMake(Exception):
    """Python 2.7 or a package is missing, so the environment cannot be created."""


def find_python27() -> Path | None:
    """Return a Python 2.7 that runs, from PATH or from pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", HOME / ".pyenv"))
    found = [shutil.which("python2.7"), *pyenv.glob("versions/2.7*/bin/python2.7")]
    for python in filter(None, found):
        # A shim of pyenv exists, but works only in some directories.
        done = subprocess.run(
            [python, "-c", "import sys; sys.exit(sys.version_info[:2] != (2, 7))"],
            capture_output=True,
        )
        if done.returncode == 0:
            return Path(python)
    return None


def find_or_make() -> Path:
    """Return the environment's Python, and create the environment if needed.

    Raises CannotMake if the environment cannot be created.
    """
    given = os.environ.get("TEJ_TEST_VISTRAILS")
    if given:
        return Path(given)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or HOME / ".cache")
    folder = cache / "tej-tests" / "vistrails-2.2.4"
    folder.parent.mkdir(parents=True, exist_ok=True)
    python = folder / "bin" / "python"
    with _alone(folder.with_name(f"{folder.name}.lock")):
        # This file is written last, so it marks a complete environment.
        if not (folder / "complete").exists():
            _make(folder, python)
    return python


def _make(folder: Path, python: Path) -> None:
    base = find_python27()
    if base is None:
        raise CannotMake("python2.7 is missing")
    shutil.rmtree(folder, ignore_errors=True)
    maker = folder / "maker"
    steps: list[list[str | Path]] = [
        [sys.executable, "-m", "venv", maker],
        [maker / "bin/python", "-m", "pip", "install", "-q", VIRTUALENV],
        [maker / "bin/virtualenv", "-q", "-p", base, folder],
        [python, "-m", "pip", "install", "-q", "--no-deps", VISTRAILS],
        [python, "-m", "pip", "install", "-q", *NEEDED, *ORIGINAL],
    ]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    environment.pop("PYTHONPATH", None)
    for step in steps:
        done = subprocess.run(
            step, env=environment, capture_output=True, text=True, timeout=LIMIT
        )
        if done.returncode:
            words = " ".join(map(str, step))
            raise CannotMake(f"{words}: {done.stderr.strip()[-500:]}")
    (folder / "complete").touch()


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let only one of several processes run the block at a time."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
