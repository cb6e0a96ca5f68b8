"""Luigi's own tests, which are in its source distribution but are not installed."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from types import ModuleType

import pytest

HOME = Path.home()
"""The home directory of the user, before a test replaced it."""


def own_tests(name: str) -> ModuleType:
    """Return the module `test/NAME.py` of the installed version of Luigi.

    The source distribution is downloaded once with pip.  Without a network, the test is
    skipped on a developer's machine and fails on CI.
    """
    folder = _sources()
    # Luigi's tests import `helpers`, which is in the same directory.
    sys.path.insert(0, str(folder))
    try:
        spec = importlib.util.spec_from_file_location(
            f"luigi_{name}", folder / f"{name}.py"
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(folder))
    return module


def _sources() -> Path:
    version = importlib.metadata.version("luigi")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or HOME / ".cache") / "tej-tests"
    cache.mkdir(parents=True, exist_ok=True)
    found = cache / f"luigi-{version}"
    if not found.exists():
        with tempfile.TemporaryDirectory(dir=cache) as room:
            _fetch(version, Path(room))
            # The rename publishes the complete directory, because several workers may
            # download at the same time.
            try:
                (Path(room) / f"luigi-{version}").rename(found)
            except OSError:
                if not found.exists():
                    raise
    return found / "test"


def _fetch(version: str, room: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--no-binary", "luigi", "--dest", str(room), f"luigi=={version}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    archives = list(room.glob("luigi-*.tar.gz"))
    if done.returncode or not archives:
        words = f"Luigi's sources cannot be had: {done.stderr[-500:]}"
        if os.environ.get("CI"):
            pytest.fail(words)
        pytest.skip(words)
    with tarfile.open(archives[0]) as archive:
        archive.extractall(room, filter="data")
