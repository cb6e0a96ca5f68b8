"""Requests: quoting and encoding of words, checked with real shells."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tej.transport.program_block import in_block
from tej.wire.requests import as_line, command

SHELLS = {
    "dash": ["dash"],
    "bash": ["bash"],
    "busybox": ["busybox", "sh"],
}

# Any bytes but NUL, as Python decodes them: bytes that are not UTF-8 are surrogates.
texts = st.binary(max_size=200).map(
    lambda data: data.replace(b"\0", b"").decode("utf-8", "surrogateescape")
)
slow = settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def as_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, require: Callable[[str], None]) -> list[str]:
    words: list[str] = SHELLS[request.param]
    require(words[0])
    return words


@slow
@given(text=texts)
def test_shells_decode_any_text(shell: list[str], text: str) -> None:
    line = as_line(f"printf %s {command(text)}\n")
    assert "\n" not in line
    assert line.isascii()
    done = subprocess.run(
        [*shell, "-c", 'IFS= read -r tej; eval "$tej"'],
        input=as_bytes(line) + b"\nrest",
        capture_output=True,
    )
    assert (done.stdout, done.stderr) == (as_bytes(text), b"")


@slow
@given(words=st.lists(texts, max_size=6))
def test_shells_receive_words_separately(shell: list[str], words: list[str]) -> None:
    line = as_line(
        f'set -- {command(*words)}\nfor w in "$@"; do printf \'%s\\0\' "$w"; done'
    )
    done = subprocess.run([*shell, "-c", line], capture_output=True)
    assert done.stdout == b"".join(as_bytes(word) + b"\0" for word in words)


def test_program_is_decoded_in_an_assignment() -> None:
    """In any other word, bash 3.2 expands braces of the program, and changes it."""
    assert '"$(' not in as_line("printf '%s' 'a {b,c}'")
    assert "; tej=$(printf %b " in as_line("true")


def test_long_program_has_only_short_words() -> None:
    line = as_line("a\\b'é\n" * 60_000)
    assert len(line) > 1_000_000
    # The limit is MAX_ARG_STRLEN of Linux, because the `printf` of mksh is a program.
    assert max(map(len, line.split("'"))) < 131_072


READ_PROGRAM = 'IFS= read -r tej; eval "$tej"; exit'


@pytest.fixture(params=[*SHELLS, "mksh", "yash", "ksh"])
def any_shell(request: pytest.FixtureRequest, require: Callable[[str], None]) -> str:
    """The path of a shell, or of `busybox`, which is called as `busybox sh`."""
    require(request.param)
    return shutil.which(request.param) or ""


def run_block(shell: str, pieces: list[bytes], path: str) -> tuple[bytes, int]:
    """Run READ_PROGRAM in a shell that receives its input in several writes."""
    words = [shell, "sh"] if shell.endswith("busybox") else [shell]
    process = subprocess.Popen(
        [*words, "-c", READ_PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PATH": path, "tej": "exported"},
        bufsize=0,
    )
    assert process.stdin is not None
    for piece in pieces:
        process.stdin.write(piece)
    output, _ = process.communicate()
    return output, process.returncode


READS_AHEAD = r"""#!/bin/sh
# The `dd` of uutils 0.0.17 fills a buffer of 8192 bytes.
[ "${1#bs=}" -lt 8192 ] || exec "$real" "$@"
"$real" bs=8192 count=1 2>/dev/null | head -c "${1#bs=}"
"""


@pytest.mark.parametrize("path", [os.defpath, "/absent", "reads ahead"])
def test_block_leaves_rest_of_input(any_shell: str, path: str, tmp_path: Path) -> None:
    if path == "reads ahead":
        path = f"{tmp_path}:{os.defpath}"
        (tmp_path / "dd").write_text(
            READS_AHEAD.replace("$real", shutil.which("dd") or "")
        )
        (tmp_path / "dd").chmod(0o755)
    long = f": {'x' * 3000}; IFS= read -r rest; [ \"$#$rest\" = '0the rest' ] && exit 7"
    data = in_block(long).encode() + b"\nthe rest\nmore"
    pieces = [data[:1000], data[1000:1500], data[1500:]]
    output, status = run_block(any_shell, pieces, path)
    assert (output.strip(b"\0"), status) == (b"", 7)


def test_progress_of_a_slow_block_is_reported(any_shell: str) -> None:
    # `dd` reads at most the contents of a pipe at a time.
    block = in_block(f": {'x' * 300_000}; exit 7").encode() + b"\n"
    output, status = run_block(any_shell, [block], os.defpath)
    assert (output.strip(b"\0"), status) == (b"", 7)
    assert len(output) > 1


def test_truncated_block_is_not_evaluated(any_shell: str) -> None:
    block = in_block(f"printf evaluated; : {'x' * 3000}").encode()
    for end in (len(block), len(block) - 500):
        assert run_block(any_shell, [block[:end]], os.defpath) == (b"", 121)
