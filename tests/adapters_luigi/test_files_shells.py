"""The server's script for Luigi's file system behaves the same in every shell."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tej_luigi.files import _script

ODD = "-it's a \\ $HOME `x` *"


@pytest.fixture(params=["dash", "bash", "busybox", "mksh", "yash", "ksh"])
def files(
    request: pytest.FixtureRequest, require: Callable[[str], None], tmp_path: Path
) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Return a function that runs the script:

    `files(action, path, ...)`, in an empty home.
    """
    require(request.param)
    shell = ["busybox", "sh"] if request.param == "busybox" else [request.param]

    def run(*words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*shell, "-c", _script(), "sh", *words],
            input=stdin,
            capture_output=True,
            cwd=tmp_path,
            env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        )

    return run


def test_file_operations_in_every_shell(
    files: Callable[..., subprocess.CompletedProcess[bytes]], tmp_path: Path
) -> None:
    def did(*words: str, stdin: bytes = b"") -> bytes:
        done = files(*words, stdin=stdin)
        assert (done.returncode, done.stderr) == (0, b""), done
        return bytes(done.stdout)

    did("write", f"sub/{ODD}", "4", "x1", stdin=b"a\0b\n")
    assert (tmp_path / "sub" / ODD).read_bytes() == b"a\0b\n"
    assert did("exists", f"~/sub/{ODD}") == b"yes\n"
    assert did("isdir", f"sub/{ODD}") == b""
    assert did("isdir", "sub///") == b"yes\n"
    assert did("read", f"sub/{ODD}") == b"a\0b\n"
    did("copy", "sub", "other/copy", "x2")
    assert did("listdir", "other") == f"./copy/{ODD}\0".encode()
    did("mkdir", "a/b", "1", "0")
    did("move", f"sub/{ODD}", "a/b/c")
    did("rename", "a/b/c", ODD)
    did("rename", "other", "elsewhere")
    did("remove", ODD, "0")
    did("remove", "elsewhere", "1")
    assert did("listdir", "~") == b""


def test_refusals_have_a_status_in_every_shell(
    files: Callable[..., subprocess.CompletedProcess[bytes]], tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("before")
    (tmp_path / "link").symlink_to("folder")

    def status(*words: str, stdin: bytes = b"") -> int:
        return files(*words, stdin=stdin).returncode

    assert status("read", "no") == 64
    assert status("move", "no", "file") == 64
    assert status("rename", "file", "folder") == 65
    assert status("mkdir", "folder", "1", "1") == 65
    assert status("move", "file", "folder") == 66
    assert status("move", "file", "link") == 66
    assert status("write", "folder", "0", "x") == 66
    assert status("remove", "folder", "0") == 66
    assert status("mkdir", "file", "1", "0") == 67
    assert status("mkdir", "no/no", "0", "0") == 68
    # The upload is cut.
    assert status("write", "file", "10", "x", stdin=b"only half") == 69
    assert status("mkdir", "file/no", "1", "0") == 69
    assert (tmp_path / "file").read_text() == "before"
    left = sorted(one.name for one in tmp_path.rglob("*") if one.name != "pipeline")
    assert left == ["file", "folder", "link"]
