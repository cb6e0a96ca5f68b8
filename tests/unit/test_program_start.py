"""Start of a program on the server."""

from __future__ import annotations

import subprocess

import pytest
from clocks import SimulatedTime

from tej.transport import program_start
from tej.transport.program_start import (
    COMMAND,
    FIRST_OUTPUT_TIMEOUT,
    PRELUDE,
    READY,
    ProgramConsumed,
    Start,
)


def test_program_that_is_repeated_does_not_run() -> None:
    start = Start("true")
    # A forced command may print the command, and a terminal repeats the input.
    repeated = b"".join([PRELUDE, *start.stdin(), *Start("true").stdin()])
    assert start.strip(repeated) == b""
    assert not start.ready
    assert not start.running


def test_program_on_a_slow_connection_is_not_consumed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = SimulatedTime()
    monkeypatch.setattr(program_start, "time", clock)
    start = Start("true")
    sent = start.stdin()
    assert next(sent) == PRELUDE
    clock.sleep(3)
    start.strip(READY)
    assert list(sent)
    clock.sleep(FIRST_OUTPUT_TIMEOUT + 5 * 3)
    start.check("server")
    clock.sleep(3600)
    with pytest.raises(ProgramConsumed, match="on server reads standard input"):
        start.check("server")


def test_long_program_begins_before_it_is_sent() -> None:
    start = Start(f": {'x' * 500_000}")
    sent = start.stdin([b"input"])
    first = next(sent) + next(sent)
    shell = ["sh", "-c", COMMAND]
    done = subprocess.run(shell, input=first, stdout=subprocess.PIPE, check=False)
    assert start.strip(done.stdout) == b""
    assert start.running
    assert len(next(sent)) > 500_000
    assert list(sent) == [b"input"]
