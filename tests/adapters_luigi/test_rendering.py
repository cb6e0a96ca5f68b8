"""Values in a task's scripts arrive unchanged at every position of the shell's syntax."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tej import InvalidJobDirectory
from tej_luigi.rendering import render_shell

VALUES = [
    "plain",
    "x; touch f",
    "it's",
    'a "b"',
    "$HOME `touch f` \\ $(touch f)",
    "* é",
]
PLACES = {
    "plain": "printf %s {{v}}",
    "option": "printf %s --name={{ v }} | cut -c 8-",
    "double quotes": 'printf %s "{{v}}"',
    "single quotes": "printf %s '{{v}}'",
    "substitution": 'printf %s "$(printf %s {{v}})"',
    "quotes in it": "printf %s \"$(printf %s '{{v}}')\"",
    "after a comment": "# don't (\nprintf %s {{v}}",
    "after a shift": "n=$((1<<2))\nprintf %s {{v}}",
    "here-document": "cat <<end\n{{v}}\nend",
    "quoted here-document": "cat <<'end'\n{{v}}\nend\n: {{v}}",
    "after it": "cat >/dev/null <<-end\n\tdon't\n\tend\nprintf %s {{v}}",
    "case": "case x in x) printf %s {{v}} ;; esac",
}


@pytest.mark.parametrize("place", PLACES)
def test_values_are_quoted_for_their_position(place: str) -> None:
    for value in VALUES:
        script = render_shell(PLACES[place], {"v": value}, "`inline`")
        done = subprocess.run(["sh", "-c", script], capture_output=True, text=True)
        assert (done.stdout.rstrip("\n"), done.stderr) == (value, "")
    # The directory contains only the test's own files, so no command in a value has
    # run.
    assert not list(Path.cwd().iterdir())


@pytest.mark.parametrize(
    "script", ["echo `echo {{v}}`", "cat <<e\n{{v}}\ne", "# {{v}}"]
)
def test_positions_without_quoting_are_refused(script: str) -> None:
    assert render_shell(script, {"v": "1.5"}, "`inline`") == script.replace(
        "{{v}}", "1.5"
    )
    with pytest.raises(InvalidJobDirectory, match=r"\{\{v \| raw\}\}"):
        render_shell(script, {"v": "x\ny"}, "`inline`")


def test_raw_values_are_not_quoted() -> None:
    values = {"v": "a b; c"}
    assert render_shell("run {{v|raw}} {{v}}", values, "") == "run a b; c 'a b; c'"
    python = "#!/usr/bin/env python3\nprint('{{v}}')"
    assert "print('a b; c')" in render_shell(python, values, "")
    assert "echo 'a b; c'" in render_shell("#!/bin/bash\necho {{v}}", values, "")
