"""Start of a program on the server."""

from __future__ import annotations

from tej.transport.program_start import PRELUDE, Start


def test_program_that_is_repeated_does_not_run() -> None:
    start = Start("true")
    # A forced command may print the command, and a terminal repeats the input.
    repeated = b"".join([PRELUDE, *start.stdin(), *Start("true").stdin()])
    assert start.strip(repeated) == b""
    assert not start.ready
    assert not start.running
