"""Hints about common mistakes in the stderr of a job."""

from __future__ import annotations

import pytest

from tej.job.stderr_hints import find_hint


@pytest.mark.parametrize(
    ("stderr", "words"),
    [
        ("./start.sh: 3: python: not found\n", "python3"),
        ("start.sh: line 3: python: command not found\n", "python3"),
        ("env: 'python': No such file or directory\n", "python3"),
        ("/usr/bin/env: \u2018python\u2019: No such file or directory", "python3"),
        ("./start.sh: 2: source: not found\n", "#!/bin/bash"),
        ("./start.sh: 2: [[: not found\n", "#!/bin/bash"),
        ('./start.sh: 2: Syntax error: "(" unexpected\n', "#!/bin/bash"),
        ("./start.sh: 2: Bad substitution\n", "#!/bin/bash"),
        ("start.sh: 2: module: not found\n", "--login"),
        ("ModuleNotFoundError: No module named 'numpy'\n", "'numpy'"),
        ("python: not found\nsource: not found\n", "`source`"),
        ('1: import: not found\n2: Syntax error: "(" unexpected\n', "python3 FILE"),
        ("./start.sh: 1: ./tool: Permission denied\n", "chmod +x ./tool"),
        ("exec: ./start.sh: Argument list too long\n", "128 KiB"),
        ("start.sh: line 1: ./tool: Permission denied\n", "chmod +x ./tool"),
        ("exec_job.sh: 89: exec: ./fit.sh: not found\n", "first line (#!)"),
    ],
)
def test_mistake_has_a_hint(stderr: str, words: str) -> None:
    assert words in (find_hint(stderr) or "")


@pytest.mark.parametrize(
    "stderr",
    [
        *("", "python3: not found", "mypython.py: done", "resource: not found"),
        "./start.sh: 1: cannot create ./out: Permission denied",
    ],
)
def test_other_stderr_has_no_hint(stderr: str) -> None:
    assert find_hint(stderr) is None
