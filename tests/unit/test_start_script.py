"""Command of a job: a script of the directory, with arguments, or a shell command."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tej import InvalidJobDirectory
from tej.job.start_script import check_text, find_command


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "start.sh").write_text("#!/bin/sh\n")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/my run").write_text("#!/bin/sh\n")
    (tmp_path / "link").symlink_to("start.sh")
    (tmp_path / "away").symlink_to("../elsewhere")
    return tmp_path


@pytest.mark.parametrize(
    ("script", "text", "sent", "canonical"),
    [
        (None, "tej_run ./start.sh", "start.sh", "start.sh"),
        ("./start.sh", "tej_run ./start.sh", "start.sh", "start.sh"),
        ("start.sh -n 3", "tej_run ./start.sh -n 3", "start.sh", "start.sh -n 3"),
        # The shell has to interpret the operator.
        ("start.sh >out", "./start.sh >out", "start.sh", "start.sh >out"),
        ("bin/my run", "tej_run './bin/my run'", "bin/my run", "bin/my run"),
        ("link", "tej_run ./link", "start.sh", "link"),
        ("echo hi; sleep 1", "echo hi; sleep 1", None, "echo hi; sleep 1"),
        ("/bin/true", "/bin/true", None, "/bin/true"),
    ],
)
def test_script_becomes_a_command(
    directory: Path, script: str | None, text: str, sent: str | None, canonical: str
) -> None:
    command = find_command(directory, script)
    assert (command.text, command.script, command.canonical) == (text, sent, canonical)


@pytest.mark.parametrize(
    ("script", "canonical"),
    [
        ("bin\\my run", "bin/my run"),
        (".\\bin\\tool --fast C:\\x", "bin/tool --fast C:\\x"),
        ("start.sh a\\b", "start.sh a\\b"),
        ("printf a\\nb", "printf a\\nb"),
    ],
)
def test_script_path_of_windows_gets_slashes(
    directory: Path, script: str, canonical: str
) -> None:
    (directory / "bin/tool").write_text("#!/bin/sh\n")
    assert find_command(directory, script, windows=True).canonical == canonical
    assert find_command(directory, "printf a\\nb").canonical == "printf a\\nb"


@pytest.mark.skipif(os.name == "nt", reason="a backslash separates directories")
def test_backslash_may_be_part_of_a_script_name(directory: Path) -> None:
    for name in ("bin/tool", "bin\\tool"):
        (directory / name).write_text("#!/bin/sh\n")
    assert find_command(directory, "bin\\tool").script == "bin\\tool"


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("missing.sh", "no script 'missing.sh'"),
        ("./missing", "no script"),
        ("bin/missing -x", "no script"),
        ("bin", "is a directory"),
        ("away", "is a link to"),
        ("", "is not a script"),
        ("a\0b", "is not a script"),
        ("\ud800", "is not a script or a command: .* UTF-8"),
    ],
)
def test_impossible_script_is_refused(
    directory: Path, script: str, problem: str
) -> None:
    with pytest.raises(InvalidJobDirectory, match=problem):
        find_command(directory, script)


@pytest.mark.parametrize("text", [" ", "\ud800"])
def test_error_for_unusable_text_names_its_kind(text: str) -> None:
    with pytest.raises(InvalidJobDirectory, match="is not a command to run at the end"):
        check_text(text, "a command to run at the end")


@pytest.mark.parametrize(
    ("start", "problem"),
    [
        (b"\xef\xbb\xbf#!/bin/sh\n", "byte order mark"),
        (b"\xff\xfe#\0", "UTF-16"),
        (b"#!/bin/sh\r\n", "Windows line endings"),
    ],
)
def test_script_of_windows_is_refused(
    directory: Path, start: bytes, problem: str
) -> None:
    (directory / "start.sh").write_bytes(start)
    with pytest.raises(InvalidJobDirectory, match=problem):
        find_command(directory, None)


def test_carriage_returns_below_the_first_line_are_accepted(directory: Path) -> None:
    (directory / "start.sh").write_bytes(b"#!/bin/sh\ncat <<E\na\r\nE\n")
    assert find_command(directory, None).script == "start.sh"
