"""Third-party runtimes: folders, and packages that publish runtimes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import tej
from tej.server.scripts import find_runtime


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a package that publishes the runtime `mine`."""
    site = tmp_path / "site"
    (site / "theirs/mine").mkdir(parents=True)
    (site / "theirs/__init__.py").touch()
    (site / "theirs/mine/__init__.py").touch()
    (site / "theirs/mine/runtime.sh").write_text(
        '. "$here/runtimes/default/runtime.sh"\n'
    )
    info = site / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[tej.runtimes]\nours = theirs.mine\n")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delitem(sys.modules, "theirs", raising=False)


def test_published_runtime_is_found_by_name(
    published: None, queue_path: Path, job: Callable[..., Path]
) -> None:
    queue = tej.RemoteQueue("local:", str(queue_path), "ours")
    queue.submit("first", job("exit 3"))
    status = queue.job("first").wait(90)
    assert (status.runtime, status.exit_code) == ("mine", 3)
    queue.cleanup(kill=True)


def test_unknown_runtime_error_lists_known_runtimes(queue_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'theirs' is unknown: use auto, default"):
        tej.RemoteQueue("local:", str(queue_path), "theirs").setup()


def test_folder_with_builtin_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "slurm").mkdir()
    (tmp_path / "slurm/runtime.sh").touch()
    with pytest.raises(ValueError, match="cannot be called 'slurm'"):
        find_runtime(str(tmp_path / "slurm"))
