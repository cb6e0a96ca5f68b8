"""Installation of the package into VisTrails."""

from __future__ import annotations

import ast
import os
import subprocess
from pathlib import Path

import pytest

import tej
from tej_vistrails import installation
from tej_vistrails.client import find_command


def test_install_copies_the_package_and_its_command(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = home / ".vistrails/userpackages/tej_vistrails"
    assert installation.install() == target
    assert (target.parent / "__init__.py").exists()
    names = {path.stem for path in target.glob("*.py")}
    assert names == set(installation.LOADED_BY_VISTRAILS)
    monkeypatch.setattr("tej_vistrails.client._HERE", str(target))
    assert find_command() == installation.find_tej()
    # Install again, as after an update.
    (target / "old.py").touch()
    installation.install()
    assert not (target / "old.py").exists()


def test_install_keeps_a_foreign_package(tmp_path: Path) -> None:
    mine = tmp_path / "packages/tej_vistrails"
    mine.mkdir(parents=True)
    (mine / "mine.py").touch()
    with pytest.raises(tej.Error, match="was not installed by tej"):
        installation.install(mine.parent)
    assert (mine / "mine.py").exists()


def test_installed_files_import_only_installed_files() -> None:
    known = set(installation.LOADED_BY_VISTRAILS)
    for name in known:
        tree = ast.parse((installation.PACKAGE / f"{name}.py").read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.level and node.module:
                first = node.module.partition(".")[0]
                # `pipeline` is only imported without VisTrails.
                assert first in known | {"pipeline"}, name


def test_import_without_vistrails_names_python_api(
    tmp_path: Path,
) -> None:
    from tests.adapters_vistrails.environment import find_python27

    python = find_python27()
    if python is None:
        if os.environ.get("CI"):
            pytest.fail("CI has to have python2.7")
        pytest.skip("python2.7 is missing")
    target = installation.install(tmp_path)
    # All files are valid Python 2.7.
    subprocess.run([python, "-m", "compileall", "-q", target], check=True)
    code = "import tej_vistrails.vistrails_api"
    done = subprocess.run(
        [python, "-B", "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert "ImportError: VisTrails cannot be imported" in done.stderr
    assert "pip install tej[vistrails]" in done.stderr
