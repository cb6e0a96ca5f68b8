"""The documented example runs unchanged, and finds its jobs when it runs again."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from tests.adapters_prefect.flow_processes import FLOWS

SWEEP = FLOWS.parents[2] / "examples/prefect/sweep.py"


def test_example_finds_its_jobs_again(
    prefect_server: str,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(sys, "argv", [str(SWEEP)])
    for number in (0, 10):
        runpy.run_path(str(SWEEP), run_name="__main__")
        assert 3.1 < float(capsys.readouterr().out) < 3.2
        assert f"({number} jobs were found)" in caplog.text
    assert len([*(home / ".tej/jobs").glob("sig-*")]) == 10
