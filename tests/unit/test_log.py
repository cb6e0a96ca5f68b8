"""Log of the command line."""

from __future__ import annotations

import io
import logging

import pytest

from tej.cli.log import log_to_stderr


def test_closed_former_stderr_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    log_to_stderr(0)
    logger = logging.getLogger("tej")
    former, present = io.TextIOWrapper(io.BytesIO()), io.StringIO()
    monkeypatch.setattr("sys.stderr", former)
    logger.error("first")
    monkeypatch.setattr("sys.stderr", present)
    former.close()
    logger.error("second")
    assert present.getvalue() == "ERROR: second\n"
