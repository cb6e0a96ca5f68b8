"""Bootstrap on the server: how the queue is found."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

BOOTSTRAP = Path(__file__).parents[2] / "tej/server/bootstrap.sh"


def run(lines: str, folder: Path) -> tuple[int, str]:
    """Run lines of shell with the bootstrap; return the exit status and the output."""
    setup = '. "$1"; cd "$2"; tej_home=$PWD; check_queue_trust() { :; }\n'
    done = subprocess.run(
        ["/bin/sh", "-c", setup + lines, "sh", BOOTSTRAP, folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("path", ["file/queue", "n" * 300])
def test_path_that_cannot_be_checked_is_not_absent(path: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    status, words = run(f"find_queue {path} || echo 'absent'", tmp_path)
    assert (status, words.partition(" cannot be")[0]) == (20, f"'{tmp_path}/{path}'")
    assert run("find_queue none || echo absent", tmp_path) == (0, "absent\n")


@pytest.mark.parametrize(
    ("status", "error"),
    [(2, "Input/output error"), (127, "No such file or directory")],
)
def test_queue_is_not_set_up_again_after_an_error(
    tmp_path: Path, status: int, error: str
) -> None:
    """Otherwise, the queue could get another runtime while its jobs run."""
    lines = f"queue=$PWD; ls() {{ echo 'ls: x: {error}' >&2; return {status}; }}; "
    lines += "read_version || echo 'not set up'"
    assert run(lines, tmp_path) == (
        20,
        f"'{tmp_path}/version' cannot be read on the server: {error}\n",
    )
    assert run("queue=$PWD; read_version || echo 'not set up'", tmp_path)[0] == 0
