"""Every server script can be parsed by each supported shell."""

import json
import re
import subprocess
import sys
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


def test_no_command_substitution_contains_case(require):
    """bash 3.2 (/bin/sh of macOS), OpenBSD's ksh and posh cannot read such a script.

    These shells take the `)` after a pattern of `case` as the end of `$(...)`.
    """
    shfmt = Path(sys.executable).with_name("shfmt")
    require(str(shfmt))
    parsed = subprocess.run(
        [shfmt, "-p", "--to-json"],
        input=b"\n".join(script.read_bytes() for script in SCRIPTS),
        stdout=subprocess.PIPE,
        check=True,
    )

    def nodes(tree, kind):
        children = tree.values() if isinstance(tree, dict) else tree
        for child in children:
            if isinstance(child, dict) and child.get("Type") == kind:
                yield child
            if isinstance(child, dict | list):
                yield from nodes(child, kind)

    substitutions = list(nodes(json.loads(parsed.stdout), "CmdSubst"))
    assert len(substitutions) > 100
    assert [case["Pos"] for case in nodes(substitutions, "CaseClause")] == []


def test_no_shell_function_is_defined_twice():
    defined = Counter(
        name
        for script in (SERVER / "lib").iterdir()
        for name in re.findall(r"^(\w+)\(\)", script.read_text(), re.MULTILINE)
    )
    assert [name for name, times in defined.items() if times > 1] == []


def test_functions_restore_the_options_that_they_set():
    """Without a check, `set -f` would disable the wildcards of all later loops."""
    functions = [
        (name, body)
        for script in SCRIPTS
        for name, body in re.findall(
            r"^(\w+)\(\) [{(]\n(.*?)^[})]", script.read_text(), re.MULTILINE | re.DOTALL
        )
    ]
    unbalanced = [
        name
        for name, body in functions
        for option in "fC"
        if len(re.findall(rf"^ *set -{option}$", body, re.MULTILINE))
        != len(re.findall(rf"^ *set \+{option}$", body, re.MULTILINE))
    ]
    # The first two functions are one pair, and the last replaces its shell.
    assert sorted(unbalanced) == ["end_split", "split_lines", "tej_run"]
    assert len(functions) > 500


def test_programs_that_follow_the_locale_run_in_the_c_locale():
    """In a German locale, mawk reads 1.5 as 1.  In a Turkish locale, the capital of `i`
    is not `I`, and the ranges of grep contain neither.  In some locales, `sort -u`
    removes lines that differ."""
    found = [
        (script.name, line.strip())
        for script in SCRIPTS
        for line in script.read_text().splitlines()
        if re.search(
            r"(?<!LC_ALL=C )\b(awk (-|['\"])|sort\b -|tr '\[:|grep .*A-Z)", line
        )
        and not line.lstrip().startswith("#")
    ]
    # This awk runs the user's script, which needs the user's locale.
    assert found == [("run_script.sh", "end=$(awk '")]


def test_letter_ranges_of_patterns_include_i():
    """In a Turkish locale, the ranges A-Z and a-z of yash contain neither `I` nor `i`."""
    ranges = [
        (script.name, letters)
        for script in SCRIPTS
        for line in script.read_text().splitlines()
        for letters in re.findall(r"\[![^]]*?A-Z[^]]*|\[A-Z[^]]*(?=\]\*?\))", line)
    ]
    assert len(ranges) > 10
    assert [found for found in ranges if "A-Za-zIi" not in found[1]] == []


def test_there_are_server_scripts():
    assert SCRIPTS
