"""Pipes of a program, without a program."""

from __future__ import annotations

import os
import threading
from typing import Any

import pytest

from tej.transport.pipes import PipeProcess
from tej.transport.process_io import Output, serve
from tej.transport.program_start import Start

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


def test_threads_of_a_program_do_not_delay_the_exit_of_python() -> None:
    """A thread that follows output may still run a program when Python exits."""
    daemons: dict[str, bool] = {}
    is_over = threading.Event()

    class Program:
        def receive(self) -> bytes:
            daemons.update(
                (one.name, one.daemon)
                for one in threading.enumerate()
                if one.name.startswith("tej std")
            )
            is_over.set()
            return b""

        def receive_error(self) -> bytes:
            is_over.wait(60)
            return b""

        def send(self, _: bytes) -> None:
            is_over.wait(60)

        def end_input(self) -> None:
            pass

        def wait(self) -> int:
            return 0

        abort = close = end_input

    program: Any = Program()
    start = Start("true")
    assert serve(program, start, (), Output(None, start), "lab").status == 0
    assert daemons == {"tej stdin": True, "tej stderr": True}
