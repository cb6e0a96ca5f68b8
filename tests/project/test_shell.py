"""Every server script can be parsed by each supported shell."""

import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

SERVER = Path(__file__).parents[2] / "tej" / "server"
SCRIPTS = sorted(
    path
    for path in SERVER.rglob("*")
    if path.is_file() and path.suffix not in {".py", ".pyc", ".md", ".awk"}
)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_every_server_script_parses(script, shell):
    done = subprocess.run(
        [*shell, "-n", script], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_no_shell_function_is_defined_twice():
    defined = Counter(
        name
        for script in (SERVER / "lib").iterdir()
        for name in re.findall(r"^(\w+)\(\)", script.read_text(), re.MULTILINE)
    )
    assert [name for name, times in defined.items() if times > 1] == []


def test_there_are_server_scripts():
    assert SCRIPTS
