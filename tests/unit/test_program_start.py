"""Start of a program on the server."""

from __future__ import annotations

import pytest
from clocks import SimulatedTime

from tej.transport import program_start
from tej.transport.program_start import (
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
    clock.sleep(FIRST_OUTPUT_TIMEOUT + 2 * 3)
    start.check("server")
    clock.sleep(3600)
    with pytest.raises(ProgramConsumed, match="on server reads standard input"):
        start.check("server")


def test_long_program_runs_before_its_end_arrives() -> None:
    program = f": {'x' * 500_000}"
    start = Start(program)
    first_line = b"".join(start.stdin()).partition(program[:100].encode())[0]
    assert len(first_line) < 2000
    assert f"run-{start._token[8:24]}".encode() in first_line
