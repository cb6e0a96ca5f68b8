"""Ignored files: lines of .tejignore, tool files, and `everything`."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from tej import InvalidJobDirectory
from tej.job.ignore import PARTIAL_DOWNLOAD, IgnoreRules, LeftOut, tree_size


def check(directory: Path, path: str, *, everything: bool = False) -> LeftOut | None:
    is_directory = path.endswith("/")
    rules = IgnoreRules(directory, everything=everything)
    name = path.rstrip("/")
    return rules.check(name, directory / name, is_directory=is_directory)


def test_files_of_tools_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "env").mkdir()
    (tmp_path / "env/pyvenv.cfg").touch()
    for path in (".git/", "a/__pycache__/", "env/"):
        assert check(tmp_path, path) is LeftOut.BY_DEFAULT
        assert check(tmp_path, path, everything=True) is None
    assert check(tmp_path, "a.py") is None


def test_incomplete_downloads_are_left_out(tmp_path: Path) -> None:
    """A killed download leaves them in the directory of the job."""
    name = PARTIAL_DOWNLOAD.format(secrets.token_hex(8))
    assert check(tmp_path, f"a/{name}", everything=True) is LeftOut.PARTIAL
    assert check(tmp_path, ".tej-mine.part") is None


def test_tejignore_takes_precedence(tmp_path: Path) -> None:
    (tmp_path / ".tejignore").write_text("\ufeff*.log\n!keep.log\n!.git\n")
    assert check(tmp_path, "a.log") is LeftOut.BY_USER
    assert check(tmp_path, "a.log", everything=True) is LeftOut.BY_USER
    assert check(tmp_path, "keep.log") is None
    assert check(tmp_path, ".git/") is None


def test_invalid_line_is_named(tmp_path: Path) -> None:
    (tmp_path / ".tejignore").write_text("*.log\nbig\\\n")
    with pytest.raises(InvalidJobDirectory, match="Line 2 of"):
        IgnoreRules(tmp_path)


def test_size_of_a_tree_counts_all_files(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/a").write_bytes(bytes(10))
    (tmp_path / "b").write_bytes(bytes(5))
    assert tree_size(tmp_path) == 15
    assert tree_size(tmp_path / "b") == 5
    assert tree_size(tmp_path / "absent") == 0
