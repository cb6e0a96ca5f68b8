"""Ctrl-C in `tej run`, without a server."""

from __future__ import annotations

from typing import Any

import pytest

from tej.cli import interrupt
from tej.cli.exit_status import INTERRUPTED


class InterruptedJob:
    id = "a"

    def kill(self, grace: int) -> None:
        raise KeyboardInterrupt


def test_second_interrupt_reports_unknown_kill(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(interrupt, "words_for", lambda job: "local: --id a")
    job: Any = InterruptedJob()
    assert interrupt.interrupted(job, True, 10) == INTERRUPTED
    assert "unknown whether the job was killed" in capsys.readouterr().err
