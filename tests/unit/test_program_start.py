"""Start of a program on the server."""

from __future__ import annotations

from tej.transport.program_start import PRELUDE, Start, first_line


def test_program_that_is_repeated_does_not_run() -> None:
    start = Start("true")
    # A forced command may print the command, and a terminal repeats the input.
    assert start.strip(PRELUDE + b"".join(start.stdin()) + first_line("true")) == b""
    assert not start.ready
    assert not start.running
