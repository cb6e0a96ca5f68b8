"""The help: groups of commands, one line each, an example per command."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tej.cli.command import Command
from tej.cli.main import tej
from tej.cli.sectioned_option import SHARED
from tej.command_list import COMMANDS, OPTIONS, help_page

NAMES = [name for group in COMMANDS.values() for name in group]


def find(name: str) -> Command:
    command = tej.get_command(click.Context(tej), name)
    assert isinstance(command, Command)
    return command


def help_of(*words: str) -> str:
    done = CliRunner().invoke(tej, [*words, "--help"], terminal_width=80)
    assert done.exit_code == 0
    return done.output


def test_commands_are_listed_in_groups() -> None:
    text = help_of()
    headings = re.findall(r"^(\w+):$", text, re.M)
    assert [one for one in headings if one in COMMANDS] == [*COMMANDS]
    listed = re.findall(r"^  ([a-z][a-z-]*)  +[A-Z]", text, re.M)
    assert listed == NAMES
    assert "..." not in text.replace("[ARGS]...", "")
    assert max(map(len, text.splitlines())) <= 80


def test_options_of_tej_itself_are_listed() -> None:
    context = click.Context(tej, **tej.context_settings)
    words = [word for one in tej.get_params(context) for word in one.opts]
    assert sorted(words) == sorted(", ".join(OPTIONS).split(", "))


def test_help_that_cannot_be_written_causes_no_traceback() -> None:
    read, closed = os.pipe()
    os.close(read)
    full = os.open("/dev/full", os.O_WRONLY)
    for stdout, expected in ((closed, (141, "")), (full, (1, "Error on this machine"))):
        done = subprocess.run(
            [sys.executable, "-m", "tej", "--help"],
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.close(stdout)
        assert (done.returncode, done.stderr.partition(":")[0]) == expected


@pytest.mark.parametrize("width", [30, 50, 78])
def test_help_fits_the_width_of_the_terminal(width: int) -> None:
    lines = help_page(width).splitlines()
    words = [line for line in lines if not line.startswith(("Usage", "    tej"))]
    assert max(map(len, words)) <= width


def test_every_command_module_is_listed() -> None:
    folder = Path(sys.modules["tej.cli"].__file__ or "").parent
    modules = {
        path.stem.replace("_", "-")
        for path in folder.glob("*.py")
        if re.search(r"^def command\(\n?.*", path.read_text("utf-8"), re.M)
        and re.search(r"^@(queue|make)_command\(", path.read_text("utf-8"), re.M)
    }
    assert modules == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_command_has_a_description_and_an_example(name: str) -> None:
    command = find(name)
    assert command.name == name
    assert (command.help or "").split("\n")[0].endswith(".") or ":" in command.help
    assert "tej " in command.example
    text = help_of(name)
    assert re.search(r"Example:\n +.*tej ", text)
    listed = ("...]", "ID#2, ...", "=$(tej submit ...)")
    assert text.count("...") == sum(map(text.count, listed))


@pytest.mark.parametrize("name", NAMES)
def test_shared_options_come_last(name: str) -> None:
    text = help_of(name)
    assert f"{SHARED}:\n" in text
    own, shared = text.split(f"{SHARED}:\n")
    assert "--json" not in own
    assert "--queue PATH" not in own or name in ("init", "runtime-check")
    assert "-h, --help" in shared


@pytest.mark.parametrize("name", NAMES)
def test_every_option_is_described(name: str) -> None:
    options = [one for one in find(name).params if isinstance(one, click.Option)]
    assert [one.name for one in options if not one.help] == []
    assert [one.name for one in options if one.help and one.help[-1] not in ".])"] == []


def test_files_of_the_current_directory_are_not_imported(tmp_path: Path) -> None:
    for name in ("click", "rich", "logging", "paramiko", "queue"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')\n")
    checkout = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-m", "tej", "--version"],
        cwd=tmp_path,
        env={"PYTHONPATH": checkout},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("tej version ")
