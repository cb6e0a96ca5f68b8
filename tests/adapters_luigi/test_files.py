"""Files on the server: written completely or not at all, with any name."""

from __future__ import annotations

import bz2
import gzip
import os
import pickle
from pathlib import Path

import luigi.format
import pytest
from jobs import wait_until
from luigi.target import FileAlreadyExists, MissingParentDirectory, NotADirectory
from servers.proxy import Proxy

import tej
from tej_luigi import (
    PathExists,
    PathIsDirectory,
    PathNotFound,
    TejFileSystem,
    TejFileTarget,
)
from tej_luigi.config import QueueAddress
from tests.adapters_luigi.run_tasks import OVER_SSH

ODD = "-it's a \\ $HOME `x` *\n\u00e9"


@pytest.fixture
def files(address: QueueAddress) -> TejFileSystem:
    return TejFileSystem()


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """Return a directory on the server, with an odd name."""
    path = tmp_path / f"there {ODD}"
    path.mkdir()
    return path


def test_exists_and_isdir(files: TejFileSystem, there: Path) -> None:
    (there / ODD).write_text("x")
    (there / "broken").symlink_to("nowhere")
    assert files.exists(str(there))
    assert files.isdir(f"{there}/")
    assert files.exists(str(there / ODD))
    assert not files.isdir(str(there / ODD))
    assert not files.exists(str(there / "no"))
    assert not files.exists(str(there / "broken"))


def test_listdir_is_recursive_below_the_given_path(
    files: TejFileSystem, there: Path
) -> None:
    for name in ("a", f"sub/{ODD}", "sub/sub/b"):
        (there / name).parent.mkdir(parents=True, exist_ok=True)
        (there / name).touch()
    names = {"a", f"sub/{ODD}", "sub/sub/b"}
    assert {*files.listdir(str(there))} == {f"{there}/{name}" for name in names}
    assert [*files.listdir(str(there / "a"))] == []
    with pytest.raises(PathNotFound):
        [*files.listdir(str(there / "no"))]


def test_relative_paths_start_in_the_home_directory(
    files: TejFileSystem, there: Path
) -> None:
    name = "in home"
    target = TejFileTarget(f"~/{name}/file")
    with target.open("w") as file:
        file.write("x")
    assert (Path.home() / name / "file").read_text() == "x"
    assert [*files.listdir(f"~/{name}")] == [f"~/{name}/file"]
    files.remove(f"~/{name}")
    assert not (Path.home() / name).exists()


def test_mkdir_options(files: TejFileSystem, there: Path) -> None:
    deep = str(there / "a/b")
    with pytest.raises(MissingParentDirectory) as caught:
        files.mkdir(deep, parents=False)
    assert isinstance(caught.value, tej.Error)
    files.mkdir(deep)
    files.mkdir(deep)
    assert files.isdir(deep)
    with pytest.raises(FileAlreadyExists):
        files.mkdir(deep, raise_if_exists=True)
    (there / "file").touch()
    with pytest.raises(NotADirectory):
        files.mkdir(str(there / "file"))


def test_remove_refuses_directories_unless_recursive(
    files: TejFileSystem, there: Path
) -> None:
    (there / "a/b").mkdir(parents=True)
    (there / "link").symlink_to(there / "a")
    with pytest.raises(PathIsDirectory):
        files.remove(str(there / "a"), recursive=False)
    files.remove(str(there / "link"))
    assert (there / "a/b").is_dir()
    files.remove(str(there / "a"))
    assert not (there / "a").exists()
    with pytest.raises(PathNotFound, match="does not exist"):
        files.remove(str(there / "a"))


def test_move_replaces_files_but_not_directories(
    files: TejFileSystem, there: Path
) -> None:
    for name in ("a", "b"):
        (there / name).write_text(name)
    (there / "folder").mkdir()
    files.move(str(there / "a"), str(there / "b"))
    assert (there / "b").read_text() == "a"
    files.move(str(there / "b"), str(there / "new/deep" / ODD))
    assert (there / "new/deep" / ODD).read_text() == "a"
    with pytest.raises(PathIsDirectory):
        files.move(str(there / "new/deep" / ODD), str(there / "folder"))
    (there / "link").symlink_to("folder")
    with pytest.raises(PathIsDirectory):
        files.move(str(there / "new/deep" / ODD), str(there / "link"))
    for name in ("new/deep", f"new/deep/{ODD}"):
        with pytest.raises(PathExists):
            files.rename_dont_move(str(there / name), str(there / "folder"))
    files.rename_dont_move(str(there / "new/deep"), str(there / "other"))
    assert (there / "other" / ODD).read_text() == "a"


def test_copy_is_whole(files: TejFileSystem, there: Path) -> None:
    (there / "a").mkdir()
    (there / "a/x").write_text("x")
    files.copy(str(there / "a"), str(there / "new" / ODD))
    assert (there / "new" / ODD / "x").read_text() == "x"
    files.copy(str(there / "a/x"), str(there / "y"))
    assert sorted(one.name for one in there.iterdir()) == ["a", "new", "y"]
    with pytest.raises(PathIsDirectory):
        files.copy(str(there / "y"), str(there / "a"))
    with pytest.raises(PathNotFound):
        files.copy(str(there / "no"), str(there / "z"))


@pytest.mark.parametrize(
    ("format", "data", "stored"),
    [
        (luigi.format.UTF8, "\u00e9\n\u20ac\n", lambda data: data.decode()),
        (luigi.format.Nop, os.urandom(3_000_000), lambda data: data),
        (luigi.format.Gzip, b"x\0\n" * 100_000, gzip.decompress),
        (luigi.format.Bzip2, b"x\0\n" * 1000, bz2.decompress),
    ],
    ids=["text", "bytes", "gzip", "bzip2"],
)
def test_luigi_formats(
    address: QueueAddress,
    there: Path,
    format: luigi.format.Format,
    data: object,
    stored: object,
) -> None:
    target = TejFileTarget(there / "file", format=format)
    with target.open("w") as file:
        file.write(data)
    assert stored((there / "file").read_bytes()) == data  # type: ignore[operator]
    with target.open() as file:
        assert file.read() == data
    assert [one.name for one in there.iterdir()] == ["file"]


@pytest.mark.parametrize("format", [None, luigi.format.Nop, luigi.format.Gzip])
def test_failed_writer_leaves_nothing(
    address: QueueAddress,
    there: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    format: luigi.format.Format | None,
) -> None:
    room = tmp_path / "room"
    room.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(room))
    (there / "file").write_text("before")
    target = TejFileTarget(there / "file", format=format)

    def write_and_fail() -> None:
        with target.open("w") as file:
            file.write("x" if format is None else b"x")
            1 / 0  # noqa: B018

    with pytest.raises(ZeroDivisionError):
        write_and_fail()
    assert (there / "file").read_text() == "before"
    assert [one.name for one in there.iterdir()] == ["file"]
    assert not [*room.iterdir()]


def test_writer_has_no_named_local_file(
    address: QueueAddress, there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = tmp_path / "room"
    room.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(room))
    with TejFileTarget(there / "file", format=luigi.format.Nop).open("w") as file:
        file.write(b"secret")
        file.flush()
        assert not [*room.iterdir()]


def test_write_error_names_the_file(
    address: QueueAddress, there: Path, tmp_path: Path
) -> None:
    (there / "file").mkdir()
    writer = TejFileTarget(there / "file").open("w")
    writer.write("x")
    with pytest.raises(PathIsDirectory, match="file' is a directory"):
        writer.close()
    with pytest.raises(PathIsDirectory):
        TejFileTarget(there / "file").open()
    with pytest.raises(PathNotFound):
        TejFileTarget(there / "no").open()
    with pytest.raises(ValueError, match="'a'"):
        TejFileTarget(there / "no").open("a")
    writer = TejFileTarget("/proc/no such/file").open("w")
    with pytest.raises(tej.RemoteCommandFailure, match="cannot be created"):
        writer.close()


def test_unreachable_server_is_not_a_missing_file(
    address: QueueAddress, there: Path
) -> None:
    target = TejFileTarget(there, destination="nobody@127.0.0.1:1")
    with pytest.raises(tej.ConnectionFailed):
        target.exists()


def test_file_target_can_be_pickled(address: QueueAddress, there: Path) -> None:
    target = TejFileTarget(there / "file")
    with target.open("w") as file:
        file.write("x")
    again = pickle.loads(pickle.dumps(target))
    assert again.exists()
    assert again.path == target.path


@OVER_SSH
def test_cut_transfer_is_repeated(
    address: QueueAddress, far: Proxy, there: Path
) -> None:
    data = os.urandom(5_000_000)
    target = TejFileTarget(there / "file", luigi.format.Nop, destination="far")
    assert not target.exists()
    far.cut_after(up=1_000_000)
    with target.open("w") as file:
        file.write(data)
    assert far.connections >= 2
    assert (there / "file").read_bytes() == data
    # Wait until the server has noticed the cut and removed the file of the first
    # attempt.
    wait_until(
        lambda: [one.name for one in there.iterdir()] == ["file"], "the rest is removed"
    )
    far.cut_after(down=1_000_000)
    with target.open() as file:
        assert file.read() == data
    assert far.connections >= 3
