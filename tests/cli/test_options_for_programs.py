"""Options for programs: environment variables from a file, and a required runtime."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import tej

if TYPE_CHECKING:
    from tests.cli.conftest import Command

Make = Callable[..., Path]


def submit(client: Command, queue: Path, *words: object, stdin: str) -> dict:
    line = client.words("submit", "local:", "--queue", queue, "--json", *words)
    done = subprocess.run(
        line,
        cwd=client.place,
        env=client.environment,
        input=stdin.encode(),
        capture_output=True,
        timeout=200,
    )
    return json.loads(done.stdout)


def test_odd_variables_are_read_from_stdin(
    client: Command, library: tej.RemoteQueue, queue_path: Path, job: Make
) -> None:
    values = {"LARGE": "x" * 100_000, "ODD": "é = 'a'\n$b", "ONE": "1"}
    script = 'printf "%s|%s|%s" "${#LARGE}" "$ODD" "$ONE" >seen'
    words = ("--env-file", "-", "--env", "ONE=2", job(script))
    answer = submit(client, queue_path, *words, stdin=json.dumps(values))
    handle = library.job(answer["id"])
    assert handle.wait().succeeded
    (seen,) = handle.download("seen", directory=client.place)
    assert seen.read_text() == "100000|é = 'a'\n$b|2"


def test_variables_in_file_count_for_the_signature(client: Command, job: Make) -> None:
    (client.place / "variables").write_text('{"A": "b"}')
    one = client("signature", job(), "--env", "A=b").stdout
    assert client("signature", job(), "--env-file", "variables").stdout == one


@pytest.mark.parametrize("text", ["A=b", "[]", '{"A": 1}', '{"": "b"}'])
def test_environment_file_without_variables_is_wrong_usage(
    client: Command, job: Make, text: str
) -> None:
    (client.place / "variables").write_text(text)
    done = client("signature", job(), "--env-file", "variables")
    assert done.status == 2
    assert done.stderr


def test_queue_with_unwanted_runtime_is_refused(
    client: Command, plain_queue: Path
) -> None:
    place = ("list", "local:", "--queue", plain_queue)
    assert client(*place, "--need-runtime", "slurm").status == 1
    more = ("--need-runtime", "slurm", "--need-runtime", "default")
    assert client(*place, *more).status == 0
