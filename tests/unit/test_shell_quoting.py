"""Values in shell scripts arrive unchanged at every position of the shell's syntax."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tej import CannotQuote, fill_shell_fields

FIELD = re.compile(r"\{(v|other)\}")
VALUES = [
    "plain",
    "x; touch f",
    "it's",
    'a "b"',
    "$HOME `touch f` \\ $(touch f)",
    "* é",
]
PLACES = {
    "plain": "printf %s {v}",
    "option": "printf %s --name={v} | cut -c 8-",
    "double quotes": 'printf %s "{v}"',
    "single quotes": "printf %s '{v}'",
    "substitution": 'printf %s "$(printf %s {v})"',
    "quotes in it": "printf %s \"$(printf %s '{v}')\"",
    "after a comment": "# don't (\nprintf %s {v}",
    "after a shift": "n=2 m=$((1<<(n+1)))\nprintf %s {v}",
    "after a shift by a variable": "n=2 m=$((1<<n))\nprintf %s {v}",
    "here-document": "cat <<end\n{v}\nend",
    "quoted here-document": "cat <<'end'\n{v}\nend\n: {v}",
    "after it": "cat >/dev/null <<-end\n\ttwo\n\tdon't\n\tend\nprintf %s {v}",
    "case": "case x in x) printf %s {v} ;; esac",
}


def fill(script: str, value: str | list[str]) -> str:
    return fill_shell_fields(
        script, FIELD, lambda field: value if field[1] == "v" else None
    )


@pytest.mark.parametrize("place", PLACES)
def test_values_are_quoted_for_their_position(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for value in VALUES:
        script = fill(PLACES[place], value)
        done = subprocess.run(
            ["sh", "-c", script], capture_output=True, text=True, cwd=tmp_path
        )
        assert (done.stdout.rstrip("\n"), done.stderr) == (value, "")
    # A command in one of the values would have created a file.
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("script", "value"),
    [
        ("echo `echo {v}`", "it's"),
        ('echo "`echo "{v}"`"', "$x"),
        ("cat <<e\n{v}\ne", "x\ny"),
        ("cat <<e\n{v}\necho\ne", "e"),
        ("cat <<e\n {v}\n e", "$x y"),
        ("cat <<e\n{v}\n\te", "$x y"),
        ("# {v}", "x\ny"),
        ('echo "$(case x in x) echo {v} ;; esac)"', "x; touch f"),
    ],
)
def test_positions_without_quoting_are_refused(script: str, value: str) -> None:
    assert fill(script, "1.5") == script.replace("{v}", "1.5")
    with pytest.raises(CannotQuote, match=r"\{v\} has the value .* at this position"):
        fill(script, value)


def test_lists_are_words_and_none_keeps_the_field() -> None:
    assert fill("run {v} {other}", ["a", "b c", ""]) == "run a 'b c' '' {other}"
    assert fill("run {v} '{v}'", "") == "run '' ''"
    assert fill("run `echo {v}`", "a b") == "run `echo 'a b'`"


def test_whole_line_may_end_a_here_document() -> None:
    with pytest.raises(CannotQuote, match="end the here-document"):
        fill("cat <<end\ne{v}\nend", "nd")
    assert fill("cat <<end\nthe {v}\nend", "end") == "cat <<end\nthe end\nend"
