"""Job directory: files that are sent, excluded files, and errors."""

from __future__ import annotations

import os
import subprocess
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import pytest

import tej
from tej.job.case_conflict import find_case_conflict
from tej.job.directory import scan
from tej.job.file_content import Content, check_unchanged, read_files
from tej.job.file_names import is_allowed_on_windows, other_forms, printable
from tej.job.ignore import TOOL_NAMES, tree_size
from tej.job.signature import signature
from tej.job.start_script import find_command


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "job"
    path.mkdir()
    (path / "start.sh").write_text("echo x\n")
    return path


def paths(folder: Path, **how: bool) -> set[str]:
    return {entry.path for entry in scan(folder, **how)}


def add_droppings(folder: Path) -> None:
    for name in TOOL_NAMES:
        (folder / "sub" / name).mkdir(parents=True)
        (folder / "sub" / name / "file").write_text("x")
    (folder / "env").mkdir()
    (folder / "env/pyvenv.cfg").touch()
    (folder / "env/python").touch()


def test_executable_bit_or_shebang_makes_a_program(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text, mode in (("bit", "x", 0o755), ("shebang", "#!/bin/sh\n", 0o644)):
        (folder / name).write_text(text)
        (folder / name).chmod(mode)
    programs = {"posix": "bit", "nt": "shebang"}
    if os.name == "nt":
        # Windows has no executable bits.
        del programs["posix"]
    for system, program in programs.items():
        entries = list(scan(folder))
        with monkeypatch.context() as patch:
            # pathlib uses the name of the system as well.
            patch.setattr("tej.job.directory_entry.os", SimpleNamespace(name=system))
            assert [one.path for one in entries if one.is_executable] == [program]


def test_files_of_tools_are_left_out(folder: Path) -> None:
    (folder / "sub").mkdir()
    before = signature(folder)
    add_droppings(folder)
    left_out: list[Path] = []
    assert {one.path for one in scan(folder, left_out=left_out)} == {"start.sh", "sub"}
    assert {path.name for path in left_out} == {*TOOL_NAMES, "env"}
    assert sum(map(tree_size, left_out)) == len(TOOL_NAMES)
    # The same function tests the files that are sent.
    assert signature(folder) == before
    assert signature(folder, everything=True) != before


def test_everything_and_tejignore_include_files_of_tools(folder: Path) -> None:
    add_droppings(folder)
    assert {"sub/.git/file", "env/python"} <= paths(folder, everything=True)
    (folder / ".tejignore").write_text("!.git\n!env/\n*.log\n")
    found = paths(folder)
    assert {"sub/.git/file", "env/python"} <= found
    assert "sub/.hg" not in found


def test_user_patterns_hold_with_everything(folder: Path) -> None:
    (folder / "a.log").touch()
    (folder / ".tejignore").write_text("*.log\n")
    assert "a.log" not in paths(folder, everything=True)


def test_invalid_line_of_tejignore_is_named(folder: Path) -> None:
    (folder / ".tejignore").write_text("*.log\nbig\\\n")
    with pytest.raises(tej.InvalidJobDirectory, match=r"Line 2 of .*: big\\$"):
        paths(folder)


def test_path_beyond_path_max_is_an_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    for _ in range(24):
        os.mkdir("d" * 200)
        os.chdir("d" * 200)
    with pytest.raises(tej.InvalidJobDirectory, match="cannot be read: File name too"):
        paths(folder)


def test_many_nested_directories_are_listed(folder: Path) -> None:
    deep = str(folder)
    try:
        for _ in range(1200):
            deep += "/d"
            os.mkdir(deep)
        assert len(paths(folder)) == 1201
    finally:
        # pytest removes directories recursively, which would fail in later runs.
        subprocess.run(["rm", "-rf", folder], check=True)


def test_file_that_vanishes_during_the_walk_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "zz").touch()
    entries = scan(folder)
    next(entries)
    (folder / "zz").unlink()
    # The scan had already listed the directory before the file was removed.
    with pytest.raises(tej.InvalidJobDirectory, match="zz' cannot be read: No such"):
        list(entries)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"#!/bin/sh\r\necho\r\n", "Windows line endings"),
        (b"\xef\xbb\xbf#!/bin/sh\n", "byte order mark"),
        (b"\xff\xfee\x00c\x00", "byte order mark"),
    ],
)
def test_script_no_server_can_run_is_named(
    folder: Path, content: bytes, problem: str
) -> None:
    (folder / "start.sh").write_bytes(content)
    with pytest.raises(tej.InvalidJobDirectory, match=problem):
        find_command(folder, None)


def test_script_may_contain_crlf_in_a_here_document(folder: Path) -> None:
    (folder / "start.sh").write_bytes(b"#!/bin/sh\ncat <<X\nGET /\r\n\r\nX\n")
    assert find_command(folder, None).script == "start.sh"


@pytest.mark.parametrize("script", ["\ud800", "a\0b", " "])
def test_command_that_is_not_text_is_an_error(folder: Path, script: str) -> None:
    with pytest.raises(tej.InvalidJobDirectory):
        find_command(folder, script)


# Content


def test_small_files_are_sent_as_they_were_read(folder: Path) -> None:
    (entry,) = read_files(scan(folder))
    (folder / "start.sh").write_text("other content")
    with Content(entry) as content:
        assert b"".join(content.read()) == b"echo x\n"


@pytest.mark.parametrize("change", ["content", "shorter", "link", "gone", "pipe"])
def test_changed_file_is_named(folder: Path, change: str) -> None:
    big = folder / "big"
    big.write_bytes(b"x" * 300_000)
    entry = next(one for one in read_files(scan(folder)) if one.path == "big")
    check_unchanged(entry)
    if change == "content":
        big.write_bytes(b"y" * 300_000)
    elif change == "shorter":
        big.write_bytes(b"x")
    else:
        big.unlink()
        if change == "link":
            big.symlink_to("start.sh")
        elif change == "pipe":
            os.mkfifo(big)
    with pytest.raises(tej.InvalidJobDirectory, match="big'"):
        check_unchanged(entry)


def test_check_of_a_large_file_needs_little_memory(folder: Path) -> None:
    size = 8 << 20
    (folder / "start.sh").write_bytes(b"x" * size)
    (entry,) = read_files(scan(folder))
    tracemalloc.start()
    try:
        check_unchanged(entry)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < size // 2


def test_changed_link_is_named(folder: Path) -> None:
    (folder / "link").symlink_to("start.sh")
    entry = next(one for one in scan(folder) if one.is_link)
    check_unchanged(entry)
    (folder / "link").unlink()
    (folder / "link").symlink_to("elsewhere")
    with pytest.raises(tej.InvalidJobDirectory, match="link' was changed"):
        check_unchanged(entry)
    (folder / "link").unlink()
    with pytest.raises(tej.InvalidJobDirectory, match="link' cannot be read"):
        check_unchanged(entry)


def test_holes_are_found_and_count_for_the_digest(folder: Path) -> None:
    with (folder / "holes").open("wb") as file:
        file.truncate(1_000_000)
        file.seek(500_000)
        file.write(b"data")
    entry = next(one for one in scan(folder) if one.path == "holes")
    with Content(entry) as content:
        segments = content.segments()
        assert sum(length for _, length in segments) < 100_000
        assert b"data" in b"".join(content.read(segments))
        by_segments = content.entry.digest
    (whole,) = read_files([entry])
    assert by_segments == whole.digest


# Names


@pytest.mark.parametrize("name", ["aux", "AUX.txt", "a.", "a ", "q?", "a:b", "x\\y"])
def test_name_windows_cannot_have(name: str) -> None:
    assert not is_allowed_on_windows(name)


@pytest.mark.parametrize("name", ["auxiliary", "a.b", ".hidden", "com", "é"])
def test_name_windows_can_have(name: str) -> None:
    assert is_allowed_on_windows(name)


def test_other_forms_look_the_same() -> None:
    assert other_forms("r\u00e9") == ["re\u0301"]
    assert other_forms("re\u0301") == ["r\u00e9"]
    assert other_forms("plain") == []


def test_control_characters_are_escaped() -> None:
    assert printable("a\x1b[2J\udce9é\n") == r"a\x1b[2J\xe9é\x0a"


@pytest.mark.parametrize(
    "names",
    [
        ("Data.txt", "data.txt"),
        ("Plots/a.png", "plots/b.png"),
        ("Caf\u00e9", "cafe\u0301"),
        ("stra\u00dfe", "STRASSE"),
    ],
)
def test_paths_that_differ_only_in_case_conflict(
    folder: Path, names: tuple[str, str]
) -> None:
    assert find_case_conflict(folder, scan(folder)) is None
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    error = find_case_conflict(folder, scan(folder))
    for name in names:
        assert f"'{name.partition('/')[0]}'" in str(error)
