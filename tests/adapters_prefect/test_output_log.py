"""Output of jobs in the log, without a server."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from clocks import SimulatedTime

import tej
from tej_prefect import output_log


class Logs:
    """The output of a job, in pieces."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = [*pieces]
        self.error: tej.Error | None = None

    def read(self, take: Any) -> None:
        if self.error is not None:
            raise self.error
        while self.pieces:
            take(tej.Piece("_stdout", self.pieces.pop(0)))


class Logger:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def _add(self, text: str, *words: object) -> None:
        self.lines.append(text % words)

    info = warning = _add

    def debug(self, *_: object) -> None: ...


def output_of(logs: Logs, prefix: str = "") -> Any:
    class Queue:
        def read_logs(self, *_: object) -> Logs:
            return logs

    job: Any = SimpleNamespace(queue=Queue(), id="a")
    logger: Any = Logger()
    made: Any = output_log.JobOutput(job, logger, prefix)
    made.lines, made.queue = logger.lines, job.queue
    return made


def test_output_is_logged_in_whole_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    time = SimulatedTime(10.0)
    monkeypatch.setattr(output_log, "time", time)
    monkeypatch.setattr(output_log, "OUTPUT_PERIOD", 2.0)
    logs = Logs(b"one\ntw")
    made = output_of(logs, "x: ")
    made.read()
    assert made.lines == ["x: one"]
    logs.pieces = [b"o\n", b"three"]
    time.now = 11.9
    made.read()
    assert len(made.lines) == 1
    time.now = 12.0
    # Two other outputs of the queue are being read.
    assert made._turn.acquire(blocking=False)
    assert made._turn.acquire(blocking=False)
    assert not made._turn.acquire(blocking=False)
    made.read()
    assert len(made.lines) == 1
    made._turn.release()
    made.read()
    assert made.lines[1:] == ["x: two"]
    logs.error = tej.ConnectionFailed("cut")
    made.read(last=True)
    assert made.lines[2:] == ["x: three"]
    made.read(last=True)
    assert len(made.lines) == 3


def test_output_is_cut_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert output_log.OUTPUT_LIMIT == 262144
    monkeypatch.setattr(output_log, "OUTPUT_LIMIT", 1024)
    logs = Logs(b"a" * 1000 + b"\n", b"b" * 100, b"c")
    made = output_of(logs)
    made.read()
    assert made.lines[0] == f"{'a' * 1000}\n{'b' * 23}"
    assert "only the first 1 KB" in made.lines[1]
    made.read(last=True)
    assert (len(made.lines), logs.pieces) == (2, [b"c"])
