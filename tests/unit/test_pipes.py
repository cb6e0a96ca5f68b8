"""Pipes of a program, without a program."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tej.transport.pipes import PipeProcess

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows uses no such pipes")


def test_time_of_the_sink_does_not_count_as_idle() -> None:
    calls: list[str] = []

    class Timer:
        """The program writes its output when the timer is checked."""

        def restart(self) -> None:
            calls.append("restart")

        def check(self) -> None:
            calls.append("check")
            os.write(stdout, b"output")

    class Program(PipeProcess):
        def wait(self) -> int:
            return 0

        def abort(self, error: BaseException) -> None:
            raise error

    reader, stdin = os.pipe()
    output, stdout = os.pipe()
    errors, stderr = os.pipe()
    timer: Any = Timer()
    program: Any = Program(stdin, output, errors, timer)
    try:
        assert program.receive() == b"output"
        # The first restart ends the time that the sink took for earlier output.
        assert calls == ["restart", "check", "restart"]
        assert not os.get_blocking(stdin)
    finally:
        program.release()
        for descriptor in (reader, stdout, stderr):
            os.close(descriptor)
